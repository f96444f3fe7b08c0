"""The repository's own promises: locks, data, workflows, and the files that other programs read."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.datasets import load_diabetes

from starterkit.settings import Stage

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.txt"))
DOCKERFILES = [*(ROOT / "docker").glob("*.Dockerfile"), *(ROOT / ".devcontainer").glob("*Dockerfile")]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
STAGES = ["local", "dev", "test", "staging", "prod"]
SECRET = re.compile(r"(PASSWORD|TOKEN|KEY)$")
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / "tools"))
    patch.syspath_prepend(str(ROOT / "tests" / "f5"))
    import promote_stage
    from lock import normalise, read_pins
    from workspace import Workspace, environments, read_json


def distribution(requirement: str) -> str:
    return normalise(re.match(r"[\w.-]+", requirement)[0])


DIRECT = sorted(map(distribution, PROJECT["dependencies"]))
# The tests want every extra but those for platforms and the large ones; `test` says so by the project's own name.
ALONE = ("catboost", "sagemaker", "spark", "tensorflow", "torch")
TRIED = [extra for name, extra in PROJECT["optional-dependencies"].items() if name not in ALONE]
EXTRAS = sorted({distribution(one) for extra in TRIED for one in extra})
DIRECT_TEST = [name for name in EXTRAS if name != PROJECT["name"]]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_lock_names_an_address(lock):
    text = (ROOT / lock).read_text("utf-8")
    for entry in re.split(r"\n(?=\S)", text):
        assert re.match(r"[\w.-]+==[^\s;\\]+(.|\n)*--hash=sha256:[0-9a-f]{64}\b", entry), entry
    assert re.findall(r"\S*(?:://|--\w*index|--find-links)\S*", text) == []


def test_every_direct_dependency_is_locked_and_both_locks_agree():
    run, test = (read_pins(ROOT / f"{name}.txt") for name in ("requirements", "requirements-test"))
    assert set(DIRECT) <= run.keys()
    assert set(DIRECT + DIRECT_TEST) <= test.keys()
    assert [name for name, versions in run.items() if not versions <= test.get(name, set())] == []


def test_no_page_calls_the_pip_that_the_environment_does_not_have():
    """uv makes `.venv` without one: another pip would install elsewhere."""
    told = {page.name: page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md")}
    assert [name for name, text in told.items() if re.search(r"(?m)^ +pip install", text)] == []
    assert "    uv pip install" in told["networks.md"]


def test_the_data_is_the_original_and_as_its_readme_says():
    frame = pd.read_csv(ROOT / "data" / "diabetes.csv")
    original = load_diabetes(scaled=False, as_frame=True).frame
    np.testing.assert_array_equal(frame.drop(columns="patient_id").to_numpy(float), original.to_numpy())
    assert list(frame["patient_id"]) == [f"P{number:03}" for number in range(1, 443)]
    readme = (ROOT / "data" / "README.md").read_text("utf-8")
    assert hashlib.sha256((ROOT / "data" / "diabetes.csv").read_bytes()).hexdigest() in readme
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", readme, re.MULTILINE))
    assert list(rows) == list(frame)
    for column in frame.columns.drop("patient_id"):
        smallest, largest = rows[column].split(" | ")[3].split("–")
        assert (float(smallest), float(largest)) == (frame[column].min(), frame[column].max()), column


@pytest.mark.parametrize("name", ["docker-compose.yml", ".devcontainer/docker-compose.yml"])
def test_compose_is_valid(name, tmp_path):
    plain = (ROOT / name).read_text("utf-8").replace("!reset ", "")  # a tag of Compose's own
    assert "version" not in yaml.safe_load(plain)
    (tmp_path / "compose.yml").write_text(plain, "utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    answer = subprocess.run([*command, tmp_path / "compose.yml"], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout


def test_dev_container_fits_the_stack():
    """No schema of devcontainer.json is at hand without a network; `make test-containers` starts it for real."""
    found = read_json(ROOT / ".devcontainer" / "devcontainer.json")
    assert found.keys() <= {
        "name", "dockerComposeFile", "service", "workspaceFolder", "remoteUser", "updateRemoteUserUID",
        "shutdownAction", "postCreateCommand", "forwardPorts", "portsAttributes", "customizations",
    }  # fmt: skip
    services: dict[str, dict] = {}
    for name in found["dockerComposeFile"]:
        text = (ROOT / ".devcontainer" / name).read_text("utf-8").replace("!reset ", "")
        for service, given in yaml.safe_load(text)["services"].items():
            services.setdefault(service, {}).update(given)
    workspace, editor = services[found["service"]], found["customizations"]["vscode"]
    assert f".:{found['workspaceFolder']}" in workspace["volumes"]
    assert (workspace["environment"]["KIT_STAGE"], services["mlflow"]["ports"]) == ("dev", [])
    assert {str(port) for port in found["forwardPorts"]} == found["portsAttributes"].keys()
    interpreter = editor["settings"]["python.defaultInterpreterPath"]
    assert interpreter == f"{workspace['environment']['VENV']}/bin/python"
    recommended = read_json(ROOT / ".vscode" / "extensions.json")["recommendations"]
    assert {*editor["extensions"]} <= {*recommended}


def test_compose_publishes_on_this_machine_alone_and_every_entry_point_of_the_project_is_a_command():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    entries = yaml.safe_load((ROOT / "MLproject").read_text("utf-8"))["entry_points"]
    conda = yaml.safe_load((ROOT / "conda" / "MLproject").read_text("utf-8"))["entry_points"]
    assert conda == {name: {"command": f"cd .. && {entry['command']}"} for name, entry in entries.items()}
    assert {"run", "train", "export", "register", "promote"} <= entries.keys()
    for name, entry in entries.items():
        step = "run" if name == "main" else name
        assert entry["command"].endswith(f"python -m starterkit {step}")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_are_sound_and_their_base_images_may_come_from_a_mirror(path):
    hadolint = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run([hadolint, "--no-color", path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout
    lines = path.read_text("utf-8").splitlines()
    stages = {line.split()[-1] for line in lines if line.startswith("FROM ") and " AS " in line}
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert [base for base in bases if base not in stages and not base.startswith("${REGISTRY}")] == []


@pytest.fixture
def workspace() -> Workspace:
    """The repository as VS Code opens it. `make test-f5` carries out what is only read here."""
    return Workspace(ROOT, {"PATH": os.defpath}, ROOT / "src" / "example_project" / "problem.py")


def test_f5_starts_the_pipeline_and_all_that_a_configuration_names_is_there(workspace):
    first = next(iter(workspace.configurations.values()))
    assert (first["type"], first["module"], first["args"]) == ("debugpy", "starterkit", ["run"])
    assert "${input:" not in json.dumps(first)
    assert not any("order" in one.get("presentation", {}) for one in workspace.configurations.values())
    for name in workspace.configurations:
        configuration = workspace.configuration(name)  # raises where a variable or an input is unknown
        assert Path(configuration.get("cwd", ROOT)).is_dir()
        for task in {"preLaunchTask", "postDebugTask"} & configuration.keys():
            assert workspace.task(configuration[task])
    for compound in workspace.compounds.values():
        assert set(compound["configurations"]) <= workspace.configurations.keys()
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for label in workspace.tasks:
        make, target, *_ = workspace.task(label)["command"].split()
        assert (make, target in targets) == ("make", True)


def test_the_editor_offers_all_stages_and_is_told_no_place_of_the_environment():
    (asked,) = [one for one in read_json(ROOT / ".vscode" / "launch.json")["inputs"] if one["id"] == "stage"]
    assert asked["options"] == [*Stage]
    # The dev container's lies elsewhere, and a setting of the workspace would override the container's own.
    for name in ("launch.json", "tasks.json", "settings.json"):
        assert ".venv/bin" not in (ROOT / ".vscode" / name).read_text("utf-8")
    assert "python.defaultInterpreterPath" not in read_json(ROOT / ".vscode" / "settings.json")


def test_every_configuration_names_the_python_that_its_task_makes(workspace):
    """VS Code chooses its own before the task has run; nobody is offered to debug without the environment."""
    launched = [one for one in workspace.configurations.values() if one["request"] == "launch"]
    windows = {"python": r"${workspaceFolder}\.venv\Scripts\python.exe"}
    for one in launched:
        told = one["python"], one["windows"], one["preLaunchTask"]
        assert told == ("${workspaceFolder}/tools/python", windows, "environment"), one["name"]
    assert all(os.access(ROOT / name, os.X_OK) for name in ("tools/python", ".ci/run"))
    assert read_json(ROOT / ".vscode" / "settings.json")["debug.hideSlowPreLaunchWarning"]
    assert workspace.task("environment")["presentation"]["reveal"] == "always"
    # An editor takes the first that it finds by name, such as the `.uv` that an old clone still has: delete that.
    found = environments(ROOT)
    assert [folder.name for folder in found if folder != Path(sys.prefix)] == []


def test_the_stage_files_are_wired_to_their_schema_and_notebooks_hold_no_output():
    schemas = read_json(ROOT / ".vscode" / "settings.json")["yaml.schemas"]
    ((schema, files),) = schemas.items()
    assert (ROOT / schema).is_file()
    assert {path.stem for path in ROOT.glob(files)} == {"base", "local", "dev", "test", "staging", "prod"}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        assert [cell["id"] for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text("utf-8"))


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{path.stem}.{name}", job) for path in WORKFLOWS for name, job in read(path)["jobs"].items()]


def test_each_job_has_an_end_writes_no_more_than_it_must_and_gives_the_commands_of_the_readme():
    """What else an attacker could use, `make workflows` looks for with zizmor."""
    assert [path.stem for path in WORKFLOWS] == ["checks", "promote", "renew", "slow"]
    for name, job in jobs():
        assert job["timeout-minutes"] <= 90, name
        writes = {scope for scope, may in job["permissions"].items() if may == "write"}
        assert writes == ({"contents", "pull-requests"} if name == "renew.propose" else set()), name
    for path in WORKFLOWS:
        assert (read(path)["permissions"], bool(read(path)["concurrency"]["group"])) == ({}, True), path
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


def test_each_stage_has_its_commands(tmp_path):
    bundle = tmp_path / "bundle.zip"
    bundle.touch()

    def of(stage, same_server=False, **environ):
        return [str(command) for command in promote_stage.commands(stage, environ, bundle, "ann", same_server)]

    assert of("local") == ["KIT_STAGE=local starterkit run"]
    assert of("dev") == ["KIT_STAGE=dev starterkit run"]
    tested = ["KIT_STAGE=test starterkit run", "KIT_STAGE=test starterkit loadtest"]
    assert of("test") == ["KIT_STAGE=local starterkit data prepare --for test", *tested]
    assert of("test", KIT_DATA__SOURCE="postgresql://host/test") == tested
    assert of("staging") == ["KIT_STAGE=staging starterkit run", f"KIT_STAGE=staging starterkit bundle {bundle}"]
    assert of("prod") == [f"KIT_STAGE=prod starterkit promote --to prod --from {bundle} --approver ann"]
    assert of("staging", same_server=True) == ["KIT_STAGE=staging starterkit run"]
    assert of("prod", same_server=True) == ["KIT_STAGE=prod starterkit promote --to prod --approver ann"]


def test_what_is_empty_is_not_set_and_a_stage_keeps_its_own():
    environ = {"KIT_TRACKING__TOKEN": "", "KIT_TRACKING__URI": "https://a", "KIT_PRIVACY__KEY": "k", "HOME": ""}
    run = promote_stage.environment(promote_stage.Command("test", ("run",)), environ)
    assert run == {"KIT_TRACKING__URI": "https://a", "KIT_PRIVACY__KEY": "k", "HOME": "", "KIT_STAGE": "test"}
    prepare = promote_stage.environment(promote_stage.Command("local", ("data", "prepare", "--for", "test")), environ)
    assert prepare == {"KIT_PRIVACY__KEY": "k", "HOME": "", "KIT_STAGE": "local"}


def test_what_cannot_go_on_is_one_line_and_a_command_that_fails_ends_the_stage(tmp_path):
    clean = {name: text for name, text in os.environ.items() if name not in ("KIT_APPROVER", "GITHUB_ACTOR")}

    def call(*words: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, promote_stage.__file__, *words], cwd=tmp_path, env=clean, capture_output=True, text=True
        )
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
