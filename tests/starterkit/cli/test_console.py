"""Progress in a pipe: a line now and then, for somebody reads it later. And what a pipe can take."""

import json
import math
import os
import shlex
import subprocess
import sys

import pytest

from starterkit.cli.commands.options import print_json
from starterkit.cli.console import ProgressView
from starterkit.cli.summary import asking
from starterkit.progress import Event
from starterkit.settings import ServingSettings


def test_a_pipe_gets_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    view = ProgressView()
    view(Event("score", "began"))
    for second in range(35):
        view(Event("score", "went on", f"{second} [rows]", float(second), second / 50))
    view(Event("score", "ended", "done", 35.0))
    view(Event("score", "began"))
    view(Event("score", "went on", "first", 3.0))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("s  ", 1)[1].strip() for line in lines] == [
        "20%  10 [rows]",
        "40%  20 [rows]",
        "60%  30 [rows]",
        "done",
    ]


def test_a_json_document_has_no_number_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"limits": [{"figure": math.inf, "limit": 1.5}], "nan": (math.nan,), "unit": "kg/m²"})
    said = capsys.readouterr().out
    assert json.loads(said) == {"limits": [{"figure": None, "limit": 1.5}], "nan": [None], "unit": "kg/m²"}
    assert "Infinity" not in said
    assert "kg/m²" in said


CODE = """
import sys
from starterkit.cli import _write_anything
from starterkit.cli.commands.options import print_json
_write_anything()
print_json("m²") if sys.argv[1:] else print("m²")
"""


@pytest.mark.parametrize(("words", "said"), [([], "m\\xb2\n"), (["json"], '"m\\u00b2"\n')])
def test_a_sign_that_the_pipe_does_not_take_stops_nothing(words: list[str], said: str) -> None:
    environ = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", CODE, *words], env=environ, capture_output=True, text=True)
    assert done.stdout == said, done.stderr


def test_the_request_to_try_survives_the_shell() -> None:
    serving = ServingSettings.model_validate({"host": "::", "port": 8001, "require_api_key": True})
    words = shlex.split(asking(serving, {"county": "Queen's", "unit": "$HOME"}))
    assert words[1] == "http://[::1]:8001/predict"
    assert json.loads(words[-1]) == {"records": [{"county": "Queen's", "unit": "$HOME"}]}
