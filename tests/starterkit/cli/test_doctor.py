"""`doctor` finds each standing condition, names it with its hint, and changes nothing."""

import hashlib
import re
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer

import pytest

from starterkit.cli import doctor
from starterkit.cli.environment import Finding
from starterkit.machine import PROCESS, this_process
from starterkit.settings import load_settings
from starterkit.tracking.connection import connect
from starterkit.tracking.registry import ModelRegistry


def contents(root: Path) -> dict[Path, str]:
    files = [file for file in root.rglob("*") if file.is_file()]
    return {file.relative_to(root): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def examine(root: Path) -> dict[str, Finding]:
    """What was found of each item, the worst of each; and nothing was changed."""
    before = contents(root)
    findings = doctor.examine(root, {})
    assert contents(root) == before
    assert all(finding.hint for finding in findings if finding.state != "well")
    order = ("well", "warning", "failing")
    return {finding.item: finding for finding in sorted(findings, key=lambda one: order.index(one.state))}


def execute(statement: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
            database.execute(statement)

    return change


def register_again(root: Path, **tags: str) -> None:
    registry = ModelRegistry.of(load_settings(root, {}), "diabetes")
    first = registry.version(1)
    tracked = registry.connection.client.get_run(first.run).data.tags
    second = registry.register(first.run, tracked["exported_model_id"], dict(first.tags) | {"gate": ""}, "again")
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        database.execute("DELETE FROM model_version_tags WHERE version = 2 AND key = 'gate'")
    registry.tag(second, tags)


def leave_a_run_open(process: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        client = connect(load_settings(root, {}).tracking, root).client
        experiment = client.get_experiment_by_name("local.diabetes")
        client.create_run(experiment.experiment_id, tags={PROCESS: process})

    return change


def misspell_a_limit(root: Path) -> None:
    settings = root / "config" / "base.yaml"
    settings.write_text(settings.read_text().replace("rmse:", "rmsee:"))


DEAD = " ".join([*this_process().split(" ")[:2], "4194304", "1"])
DANGLING = execute("UPDATE registered_model_aliases SET version = 7")
UNJUDGED = execute("DELETE FROM model_version_tags WHERE key = 'gate'")
WITHOUT_FILES: Callable[[Path], None] = lambda root: shutil.rmtree(root / "mlartifacts" / "models")  # noqa: E731


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            [DANGLING, leave_a_run_open(DEAD), lambda root: (root / "data/diabetes.csv").unlink()],
            ["champion failing .*7, which is gone", "runs warning .*was killed half-way", "data failing .*not exist"],
        ),
        (
            [partial(register_again, gate="passed"), WITHOUT_FILES, leave_a_run_open("elsewhere x 1 2")],
            [
                "champion failing .*files of .* are gone",
                "versions warning .*2 passed the gate and",
                "runs warning .*on another machine",
            ],
        ),
        (
            [partial(register_again, gate="refused"), leave_a_run_open(this_process())],
            ["versions well .*2 registered", "runs well .*1 at work now"],
        ),
        ([register_again], ["versions warning .*version 2 was registered and never judged"]),
        ([register_again, partial(register_again, gate="refused")], ["versions well .*3 registered"]),
        ([UNJUDGED], ["versions well .*1 registered"]),
        ([lambda root: (root / "mlflow.db").unlink()], ["MLflow well .*no mlflow.db yet"]),
        ([misspell_a_limit], ["problem failing .*gate.limits.rmsee is no metric"]),
        ([lambda root: (root / "config/local.yaml").write_text("x: [")], ["settings failing .*local.yaml, line 1"]),
    ],
)
def test_conditions_are_named(trained, changes, expected):
    for change in changes:
        change(trained)
    found = [f"{item} {one.state} {one.text}" for item, one in examine(trained).items()]
    for words in expected:
        assert [one for one in found if re.match(words, one, re.DOTALL)], found


def test_a_sound_installation_has_nothing_to_mend_a_moved_one_is_named_and_what_fails_is_told_once(trained):
    assert {finding.state for finding in examine(trained).values() if finding.item != "API"} == {"well"}
    moved = trained.rename(trained.with_name("moved"))
    found = examine(moved)
    assert "moved or copied" in found["MLflow"].text
    assert {found[item].text for item in ("runs", "versions", "champion")} == {"not looked at before the store follows"}
    (moved / "mlflow.db").write_bytes(b"x" * 999)
    found = examine(moved)
    assert "is not a database" in found["MLflow"].text
    assert (found["champion"].state, found["champion"].text) == ("warning", "not looked at, for MLflow fails")
    assert len({finding.text for finding in found.values() if finding.state == "failing"}) == 1


REPOSITORY = Path(__file__).parents[3]


def examine_with_stack(root: Path, uri: str) -> list[Finding]:
    shutil.copy(REPOSITORY / "docker-compose.yml", root)
    return doctor.examine(root, {"KIT_STAGE": "dev", "KIT_TRACKING__URI": uri})


@pytest.mark.parametrize(
    ("variable", "value", "needs_compose", "said"),
    [
        ("PATH", "{root}", None, "Docker is not installed here"),
        ("DOCKER_HOST", "tcp://{closed}", True, "Docker does not answer"),
        ("DOCKER_CONFIG", "{root}", False, "Docker has no Compose here"),  # where a user's own plugins are
    ],
)
def test_what_the_stack_lacks_is_named(repository, port, monkeypatch, variable, value, needs_compose, said):
    if needs_compose is not None and shutil.which("docker") is None:
        pytest.skip("not run: Docker is not installed")
    closed = f"127.0.0.1:{port}"
    monkeypatch.setenv(variable, value.format(root=repository, closed=closed))
    if needs_compose is not None:
        lacks = bool(subprocess.run(["docker", "compose", "version"], capture_output=True).returncode)
        if lacks == needs_compose:
            pytest.skip("not run: Compose is installed for everybody here, or for nobody")
    (found,) = [one for one in examine_with_stack(repository, f"http://{closed}") if one.item == "stack"]
    assert found.state == "failing"
    assert said in found.text
    assert ("Start Docker" in found.hint) == (needs_compose is True)
    assert "KIT_TRACKING__URI" in found.hint


ANSWERS = {
    "no web server": b"SSH-2.0-other\r\n",
    "a page": b"HTTP/1.1 404 Not Found\r\nContent-Length: 24\r\n\r\n<!DOCTYPE html><p>Not he",
    "nothing": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",  # as macOS answers on port 5000
}


@pytest.fixture(params=ANSWERS)
def taken(request: pytest.FixtureRequest) -> Iterator[str]:
    """Another program's address, which answers everything alike."""

    class Other(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(ANSWERS[request.param])

    with TCPServer(("127.0.0.1", 0), Other) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def test_another_program_on_the_port_is_named_and_a_server_elsewhere_is_no_matter_of_the_stack(repository, taken):
    failing = [one for one in examine_with_stack(repository, taken) if one.state == "failing"]
    assert [one.item for one in failing] in (["stack"], ["MLflow"])
    assert "MLFLOW_PORT" in failing[0].hint
    assert "stack" not in [one.item for one in examine_with_stack(repository, "http://mlflow.invalid:5000")]
