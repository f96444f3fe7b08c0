"""What commands print: progress in a pipe, the closing lines about a version, what a pipe can take; how they end."""

import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.machinery import ExtensionFileLoader

import pytest

from starterkit.cli.commands import print_json
from starterkit.cli.console import ProgressView, tell_failures
from starterkit.cli.summary import asking, refusal, show_summary, what_next
from starterkit.errors import KitError
from starterkit.pipeline import Judgement
from starterkit.progress import Event, listen, stop_if_asked
from starterkit.release.gate import Decision
from starterkit.release.judgement import EvidenceRecord
from starterkit.settings import ServingSettings, Stage, load_settings
from starterkit.tracking.registry import Version
from starterkit.verdict import Verdict


def test_a_pipe_gets_a_line_every_ten_seconds(capsys):
    view = ProgressView()
    view(Event("score", "began"))
    for second in range(35):
        view(Event("score", "went on", f"{second} [rows]", float(second), second / 50))
    view(Event("score", "ended", "done", 35.0))
    view(Event("score", "began"))
    view(Event("score", "went on", "first", 3.0))
    lines = capsys.readouterr().err.splitlines()
    told = [line.split("s  ", 1)[1].strip() for line in lines]
    assert told == ["20%  10 [rows]", "40%  20 [rows]", "60%  30 [rows]", "done"]


def test_a_json_document_has_no_number_that_json_lacks(capsys):
    print_json({"limits": [{"figure": math.inf, "limit": 1.5}], "nan": (math.nan,), "unit": "kg/m²"})
    said = capsys.readouterr().out
    assert json.loads(said) == {"limits": [{"figure": None, "limit": 1.5}], "nan": [None], "unit": "kg/m²"}
    assert ("Infinity" in said, "kg/m²" in said) == (False, True)


CODE = """
import sys
from starterkit.cli import _write_anything
from starterkit.cli.commands import print_json
_write_anything()
print_json("m²") if sys.argv[1:] else print("m²")
"""


@pytest.mark.parametrize(("words", "said"), [([], "m\\xb2\n"), (["json"], '"m\\u00b2"\n')])
def test_a_sign_that_the_pipe_does_not_take_stops_nothing(words, said):
    environ = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", CODE, *words], env=environ, capture_output=True, text=True)
    assert done.stdout == said, done.stderr


def test_the_request_to_try_survives_the_shell():
    serving = ServingSettings.model_validate({"host": "::", "port": 8001, "require_api_key": True})
    words = shlex.split(asking(serving, {"county": "Queen's", "unit": "$HOME"}))
    assert words[1] == "http://[::1]:8001/predict"
    assert json.loads(words[-1]) == {"records": [{"county": "Queen's", "unit": "$HOME"}]}


VERSION = Version(model="local.p", number=2, run="r", tags={}, created=datetime.now(UTC))
PASSED = Verdict(check="parity", passed=True, reason="all alike")
WORSE = Verdict(check="limit rmse", passed=False, reason="rmse 70, at most 65 allowed")
HEAVY = Verdict(check="size", passed=False, reason="9 MB, the champion 1 MB")
GONE = Verdict(check="champion", passed=False, reason="its files are gone", hint="Bring them back")
DO = "Do what the table's reasons say"
IMPROVE = "mprove the model, or change the limits in config if they are wrong."


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ([WORSE], f"(limit rmse): rmse 70, at most 65 allowed. I{IMPROVE}"),
        ([GONE], "(champion): its files are gone. Bring them back."),
        ([WORSE, HEAVY], f"(limit rmse, size). {DO}, i{IMPROVE}"),
        ([WORSE, GONE], f"(limit rmse, champion): its files are gone. Bring them back. {DO}, i{IMPROVE}"),
    ],
)
def test_lone_reason_and_known_hint_stand_in_the_closing_line(refused, said):
    told = refusal(Judgement(VERSION, Decision((PASSED, *refused)), None, EvidenceRecord({})))
    assert str(told) == f"the gate refused local.p version 2 {said}"


def test_what_is_next_for_a_version_that_may_pass():
    def told(earlier, stage="local"):
        return what_next(Judgement(VERSION, Decision((PASSED,)), earlier, EvidenceRecord({})), stage)

    first = replace(VERSION, number=1)
    assert told(None) == told(first) == "`starterkit promote --version 2` makes it champion."
    assert told(VERSION) == "It is champion already."
    assert "--version" not in told(first, "prod")  # there it would be staging's version 2


def test_the_next_commands_name_the_stage_where_it_is_not_local_and_rows_in_a_graph_are_told(first_run, capsys):
    root, summary = first_run
    contract = replace(summary.exported.contract, keeps_rows=("KNeighborsRegressor",))
    for stage, command in ((Stage.LOCAL, "\n  make ui "), (Stage.DEV, "\n  KIT_STAGE=dev make ui ")):
        show_summary(summary, load_settings(root, {}).model_copy(update={"stage": stage}))
        said = capsys.readouterr().out
        assert (command in said, "Careful" in said) == (True, False)
    show_summary(replace(summary, exported=replace(summary.exported, contract=contract)), load_settings(root, {}))
    assert "Careful  the model carries training rows (KNeighborsRegressor)" in capsys.readouterr().out


@pytest.fixture
def listening() -> Iterator[None]:
    hook = sys.unraisablehook
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    listen()
    yield
    listen()  # forgets what the test asked for
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_that_python_forgot_asks_again(number, kind, capsys):
    class Callback:
        def __del__(self) -> None:  # what is raised here, Python forgets
            os.kill(os.getpid(), number)

    class Slow:
        def __del__(self) -> None:
            time.sleep(5)

    def train() -> None:
        Callback()
        Slow()  # what asks again is forgotten, too
        time.sleep(5)

    with pytest.raises(kind):
        train()
    assert "ignored" not in capsys.readouterr().err


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_that_a_library_caught_is_met_at_the_next_step(number, kind):
    view = ProgressView()
    view(Event("train", "began"))
    with suppress(KeyboardInterrupt, SystemExit):
        os.kill(os.getpid(), number)
    view(Event("train", "failed"))  # whoever is ending is not stopped once more
    with pytest.raises(kind):
        view(Event("train", "ended"))


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_waits_until_an_extension_module_is_made(number, kind):
    reached = []

    class Spec:
        origin = "nowhere.so"

        @property
        def name(self) -> str:  # Python asks for it from C, more than once
            if not reached:
                os.kill(os.getpid(), number)
                reached.append("inside")
            return "nowhere"

    def make() -> None:
        try:
            ExtensionFileLoader("nowhere", "nowhere.so").create_module(Spec())  # pyrefly: ignore
        except ImportError:  # no call in between, in which it could come already
            reached.append("outside")
        time.sleep(5)

    with pytest.raises(kind):
        make()
    assert reached == ["inside", "outside"]


@pytest.mark.usefixtures("listening")
def test_a_signal_that_became_another_error_is_a_signal():
    with suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), tell_failures():
        raise KitError("the import failed", "")


@pytest.mark.usefixtures("listening")
def test_nothing_stops_where_nobody_asked_or_a_shell_lets_it_be_ignored():
    stop_if_asked()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listen()
    os.kill(os.getpid(), signal.SIGINT)
    stop_if_asked()
