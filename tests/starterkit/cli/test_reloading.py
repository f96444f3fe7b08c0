"""`serve --reload` and `traffic` in processes of their own, against a repository whose code and settings change."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from starterkit.pipeline import Summary
from starterkit.settings import load_settings
from starterkit.tracking.connection import connect

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "starterkit"]
SECONDS = 60


@pytest.fixture
def trained(first_run: tuple[Path, Summary], tmp_path: Path) -> Path:
    """A repository with a champion, and code of its own to change."""
    root = Path(shutil.copytree(first_run[0], tmp_path / "copy"))
    connect(load_settings(root, {}).tracking, root)
    shutil.copytree(REPOSITORY / "src" / "example_project", root / "src" / "example_project")
    return root


LOSES = """
import socket, sys
from starterkit import serving
from starterkit.cli.server import reloading
from starterkit.cli import tell_failures
from starterkit.settings import load_settings

def lose(*_):
    lose.other = socket.create_server(("127.0.0.1", load_settings().serving.port))

def listen_and_lose(settings, listen=reloading.listen_on):
    listening = listen(settings)
    lose()
    return listening

if sys.argv[1] == "binding":
    serving.require_port = lose
else:
    reloading.listen_on = listen_and_lose
with tell_failures():
    reloading.Reloader(load_settings(), None).run()
"""


class Api:
    """A command that serves, what it printed, and the processes of its session."""

    def __init__(self, root: Path, port: int) -> None:
        self.printed = root.parent / "printed.txt"
        environ = os.environ | {"PYTHONPATH": str(root / "src"), "KIT_SERVING__PORT": str(port)}
        with self.printed.open("w") as out:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--reload"], cwd=root, env=environ, stdout=out, stderr=out, start_new_session=True
            )

    def wait_for(self, words: str, times: int = 1) -> str:
        end = time.monotonic() + SECONDS
        while (text := self.printed.read_text()).count(words) < times:
            assert time.monotonic() < end, text
            time.sleep(0.1)
        return text

    def require_gone(self) -> None:
        """Neither it nor the process that answers is left."""
        self.process.wait(SECONDS)
        end = time.monotonic() + 10
        while self._group_is_there():
            assert time.monotonic() < end, "a process is left"
            time.sleep(0.1)

    def _group_is_there(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def api(trained: Path, port: int) -> Iterator[Api]:
    api = Api(trained, port)
    yield api
    if api.process.poll() is None:
        os.killpg(api.process.pid, signal.SIGKILL)
        api.process.wait()


@pytest.mark.parametrize("before", ["binding", "listening"])
def test_a_port_that_is_lost_after_the_look_is_one_line(trained: Path, port: int, before: str) -> None:
    environ = os.environ | {"KIT_SERVING__PORT": str(port)}
    command = [sys.executable, "-c", LOSES, before]
    done = subprocess.run(command, cwd=trained, env=environ, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2, done.stderr
    assert f"error: 127.0.0.1 port {port} cannot be had: Address already in use." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Answering" not in done.stdout


def test_it_starts_again_when_code_or_settings_change(
    api: Api, port: int, trained: Path, run: Callable[..., Any]
) -> None:
    api.wait_for(f"Answering on http://127.0.0.1:{port}, ")
    problem = trained / "src" / "example_project" / "problem.py"
    code = problem.read_text()
    problem.write_text(f"{code}\nthis is no Python\n")
    said = api.wait_for("Not answering until that is mended")
    assert "src/example_project/problem.py changed: starting again" in said
    assert "error: example_project:problem cannot be imported: SyntaxError" in said
    assert "Traceback" not in said
    problem.write_text(code)
    (trained / "config" / "local.yaml").open("a").write("\nserving:\n  max_rows: 5\n")
    done = run(trained, "traffic", "--count", "5", "--rate", "50", KIT_SERVING__PORT=str(port))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 answered, 0 refused; median ")
    os.killpg(api.process.pid, signal.SIGINT)  # as a terminal does
    api.require_gone()
    assert api.process.returncode == 0
    assert "Traceback" not in api.printed.read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_nothing_is_left_when_it_alone_is_ended(api: Api, number: int, code: int) -> None:
    api.wait_for("Answering on")
    api.process.send_signal(number)
    api.require_gone()
    assert api.process.returncode == code
    assert "Traceback" not in api.printed.read_text()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="not run: a process's children are found in /proc")
def test_a_process_that_is_killed_is_told(api: Api) -> None:
    api.wait_for("Answering on")
    pid = api.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    answering = next(child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes())
    os.kill(int(answering), signal.SIGKILL)
    api.require_gone()
    assert api.process.returncode == 1
    assert "error: the process that answers was ended by signal 9." in api.printed.read_text()


@pytest.mark.parametrize(
    ("environ", "code", "said"),
    [
        ({"KIT_SERVING__REQUIRE_API_KEY": "true"}, 2, "serving.api_key is not set"),
        ({"KIT_TRACKING__URI": "sqlite:///other.db"}, 1, "has no champion"),
        ({"KIT_SERVING__HOST": "192.0.2.1"}, 2, "192.0.2.1 port"),
        ({"KIT_STAGE": "produktion"}, 2, "KIT_STAGE"),
    ],
)
def test_a_first_start_that_is_refused_ends_it(
    trained: Path, port: int, environ: dict[str, str], code: int, said: str
) -> None:
    given = os.environ | {"KIT_SERVING__PORT": str(port)} | environ
    done = subprocess.run(
        [*COMMAND, "serve", "--reload"], cwd=trained, env=given, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
    assert "Answering" not in done.stdout


def test_traffic_without_an_api_is_one_line(run: Callable[..., Any], trained: Path, port: int) -> None:
    done = run(trained, "traffic", "--wait", "0", KIT_SERVING__PORT=str(port))
    assert done.returncode == 1
    assert f"the API at http://127.0.0.1:{port} is not ready after 0 s: Connection refused" in done.stderr
    assert "Traceback" not in done.stderr
