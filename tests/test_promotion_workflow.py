"""The workflows, and the script that they and a person share."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
STAGES = ["local", "dev", "test", "staging", "prod"]
SCRIPT = ROOT / "tools" / "promote_stage.py"
SECRET = re.compile(r"(PASSWORD|TOKEN|KEY)$")


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text("utf-8"))


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{path.stem}.{name}", job) for path in WORKFLOWS for name, job in read(path)["jobs"].items()]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return import_module("promote_stage")


def test_each_job_has_an_end_and_writes_no_more_than_it_must():
    """What else an attacker could use, `make workflows` looks for with zizmor."""
    assert [path.stem for path in WORKFLOWS] == ["checks", "promote", "renew", "slow"]
    for name, job in jobs():
        assert job["timeout-minutes"] <= 90, name
        writes = {scope for scope, may in job["permissions"].items() if may == "write"}
        assert writes == ({"contents", "pull-requests"} if name == "renew.propose" else set()), name
    for path in WORKFLOWS:
        assert (read(path)["permissions"], bool(read(path)["concurrency"]["group"])) == ({}, True), path


def test_checks_are_the_commands_of_the_readme_and_the_slow_ones_those_of_ci():
    steps = read(ROOT / ".github" / "workflows" / "checks.yml")["jobs"]["checks"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["make test", "make run"]
    matrix = read(ROOT / ".github" / "workflows" / "slow.yml")["jobs"]["slow"]["strategy"]["matrix"]
    of_ci = re.findall(r"step make (test-\S+|rehearse)", (ROOT / ".ci" / "run").read_text("utf-8"))
    assert sorted(matrix["target"]) == sorted(of_ci)


def test_stages_follow_each_other_each_in_its_environment():
    found = read(ROOT / ".github" / "workflows" / "promote.yml")["jobs"]
    assert list(found) == STAGES
    for before, (stage, job) in zip([None, *STAGES], found.items(), strict=False):
        assert job.get("needs") == before
        assert job["environment"] == stage
        (run,) = [step for step in job["steps"] if "promote_stage" in step.get("run", "")]
        assert run["run"] == f".venv/bin/python tools/promote_stage.py {stage}"
        for name, text in run.get("env", {}).items():
            kind = "secrets" if SECRET.search(name) else "vars"
            assert text == f"${{{{ {kind}.{name} }}}}"


def test_each_stage_has_its_commands(script, tmp_path):
    bundle = tmp_path / "bundle.zip"
    bundle.touch()

    def of(stage, same_server=False, **environ):
        return [str(command) for command in script.commands(stage, environ, bundle, "ann", same_server)]

    assert of("local") == ["KIT_STAGE=local starterkit run"]
    assert of("dev") == ["KIT_STAGE=dev starterkit run"]
    tested = ["KIT_STAGE=test starterkit run", "KIT_STAGE=test starterkit loadtest"]
    assert of("test") == ["KIT_STAGE=local starterkit data prepare --for test", *tested]
    assert of("test", KIT_DATA__SOURCE="postgresql://host/test") == tested
    assert of("staging") == ["KIT_STAGE=staging starterkit run", f"KIT_STAGE=staging starterkit bundle {bundle}"]
    assert of("prod") == [f"KIT_STAGE=prod starterkit promote --to prod --from {bundle} --approver ann"]
    assert of("staging", same_server=True) == ["KIT_STAGE=staging starterkit run"]
    assert of("prod", same_server=True) == ["KIT_STAGE=prod starterkit promote --to prod --approver ann"]


def test_what_is_empty_is_not_set_and_a_stage_keeps_its_own(script):
    environ = {"KIT_TRACKING__TOKEN": "", "KIT_TRACKING__URI": "https://a", "KIT_PRIVACY__KEY": "k", "HOME": ""}
    run = script.environment(script.Command("test", ("run",)), environ)
    assert run == {"KIT_TRACKING__URI": "https://a", "KIT_PRIVACY__KEY": "k", "HOME": "", "KIT_STAGE": "test"}
    prepare = script.environment(script.Command("local", ("data", "prepare", "--for", "test")), environ)
    assert prepare == {"KIT_PRIVACY__KEY": "k", "HOME": "", "KIT_STAGE": "local"}


def test_what_cannot_go_on_is_one_line_and_a_command_that_fails_ends_the_stage(tmp_path):
    clean = {name: text for name, text in os.environ.items() if name not in ("KIT_APPROVER", "GITHUB_ACTOR")}

    def call(*words: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run([sys.executable, SCRIPT, *words], cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert done.returncode == 2
        return done

    for words, said in (
        (["production"], "'production' is not a stage: name one of local, dev, test, staging, prod"),
        (["prod"], "nobody approves this: add --approver NAME, or set KIT_APPROVER"),
        (["prod", "--approver", "ann"], "bundle.zip is not there: stage staging writes it, or add --same-server"),
    ):
        assert call(*words).stderr == f"promote_stage: {said}\n"
    failed = call("staging", "--approver", "ann")
    assert failed.stdout == "$ KIT_STAGE=staging starterkit run\n"
    assert "holds config/base.yaml" in failed.stderr
    assert failed.stderr.endswith("promote_stage: stage staging ends here, with exit code 2\n")
