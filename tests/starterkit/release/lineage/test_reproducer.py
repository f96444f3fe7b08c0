"""Versions trained again, by the code of their own commit in a scratch folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from example_project import problem
from starterkit.contract import Prediction
from starterkit.data import policy as sight
from starterkit.errors import DataError, KitError, Refused, UserError
from starterkit.release.reproducer import Checkout, Reproducer, difference, read_answers, write_answers
from starterkit.settings import load_settings
from starterkit.tracking.registry import UnknownVersion


def states(done: Any) -> dict[str, bool | None]:
    return {cause.name: cause.same for cause in done.causes}


@pytest.mark.slow
def test_version_is_made_again_though_everything_has_changed_since(traveller, scratch, monkeypatch):
    monkeypatch.setenv("KIT_TRAINING__PARAMS", '{"n_estimators": 3}')  # of no matter: the version says its own
    before = traveller.files()
    done = traveller.reproduce(1)
    assert (done.identical, done.same_graph, done.deterministic, done.difference.rows) == (True, True, None, 98)
    assert states(done) == dict.fromkeys(["commit", "lock", "data", "parameters"], True)
    assert "holds the commit's lock" in done.environment
    assert (done.data, done.lineage.parameters["random_state"]) == ("outside of git, as it is now", 7)
    assert list(scratch.iterdir()) == []
    after = traveller.files()
    changed = {name for name in {**before, **after} if before.get(name) != after.get(name)}
    assert changed <= {str(traveller.root / "mlflow.db.lock")}


@pytest.mark.slow
def test_changed_data_are_named_with_the_rows_that_moved(copy):
    rows = copy.root / "data" / "more" / "rows.csv"
    lines = rows.read_text().splitlines()
    lines[5] = lines[5].rpartition(",")[0] + ",99"
    rows.write_text("\n".join(lines[:-3]) + "\n")
    done = copy.reproduce(1)
    assert (done.identical, done.deterministic) == (False, True)
    assert states(done) == {"commit": True, "lock": True, "data": False, "parameters": True}
    assert "442 rows then, 439 now: 1 new, 4 gone" in done.differing[0].text


@pytest.mark.slow
def test_estimator_without_a_seed_is_found_out(new_project):
    project = new_project()
    code = project.root / "src" / "example_project" / "problem.py"
    code.write_text("".join(line for line in code.open() if "random_state" not in line))
    project.commit("No seed")

    def estimator(*, n_estimators: int = 20, learning_rate: float = 0.03, max_depth: int = 2, subsample: float = 0.5):
        given = {"learning_rate": learning_rate, "max_depth": max_depth, "subsample": subsample}
        return make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=n_estimators, **given))

    done = project.reproduce(project.train(replace(problem, estimator=estimator)))
    assert (done.identical, done.differing, done.deterministic) == (False, (), False)


@pytest.mark.slow
def test_data_outside_of_the_repository_are_called_as_the_version_calls_them(copy, scratch):
    outside = copy.root.parent / "rows.csv"
    shutil.move(copy.root / "data" / "more" / "rows.csv", outside)
    copy.git("reset", "-q", "--hard", "HEAD~1")
    number = copy.train(KIT_DATA__SOURCE="../rows.csv")
    assert copy.reproduce(number).identical
    outside.unlink()
    assert copy.reproduce(number).failure == "data file '../rows.csv' does not exist"
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
def test_record_of_rows_that_cannot_be_read_is_named_and_a_missing_one_is_no_matter(copy):
    copy.git("reset", "-q", "--hard", "HEAD~1")
    before = set(copy.root.rglob("rows.npz"))
    number = copy.train()
    (record,) = set(copy.root.rglob("rows.npz")) - before
    record.write_bytes(b"no archive")
    assert copy.reproduce(number).failure == "'rows.npz' of the version's run cannot be read"
    record.unlink()
    assert copy.reproduce(number).identical


def test_what_cannot_be_reproduced_is_said_before_any_work(copy, scratch):
    with pytest.raises(UnknownVersion, match=r"no version 7.*one of 1") as raised:
        copy.reproduce(7)
    assert raised.value.exit_code == 2
    shutil.rmtree(copy.root / ".git")
    with pytest.raises(UserError, match="no git repository"):
        copy.reproduce(1)
    copy.git("init", "-q")
    copy.commit("Another history")
    with pytest.raises(UserError, match=r"not in this clone.*git fetch --all"):
        copy.reproduce(1)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_another_stage_sends_back_to_the_first(copy, stage):
    registry = copy.registry()  # what a promotion copies keeps the lineage of its origin
    settings = load_settings(copy.root, {"KIT_STAGE": stage, "KIT_TRACKING__URI": "http://mlflow"})
    with pytest.raises(UserError, match=rf"trained in stage local, and stage {stage} cannot.*KIT_STAGE=local"):
        Reproducer(registry, settings, problem.columns).reproduce(registry.find("1"))


def test_column_that_is_sensitive_today_is_not_read_by_the_code_of_then(traveller, scratch, monkeypatch):
    monkeypatch.setattr(sight, "sees_raw", lambda stage: False)  # the commit's own code, a process of its own, sees all
    today = [replace(one, sensitivity="sensitive") if one.name == "bmi" else one for one in problem.columns]
    registry, settings = traveller.registry(), load_settings(traveller.root, {})
    with pytest.raises(DataError, match="stage local may not see bmi raw"):
        Reproducer(registry, settings, today).reproduce(registry.find("1"))
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
def test_hidden_parameter_cannot_be_given_again(copy, scratch):
    copy.git("reset", "-q", "--hard", "HEAD~1")

    def estimator(*, api_token="hunter2", n_estimators=20, learning_rate=0, max_depth=2, subsample=0, random_state=0):
        return GradientBoostingRegressor(n_estimators=n_estimators, random_state=random_state)

    number = copy.train(replace(problem, estimator=estimator))
    assert not any(b"hunter2" in file.read_bytes() for file in copy.root.glob("mlflow.db*"))
    with pytest.raises(Refused, match="trained with a hidden api_token"):
        copy.reproduce(number)
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_reproduction_leaves_no_scratch_folder(copy, scratch, number, code):
    with subprocess.Popen(
        [sys.executable, "-m", "starterkit", "reproduce", "1"],
        cwd=copy.root, env=os.environ | {"TMPDIR": str(scratch)}, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        for line in process.stderr:
            if "environment" in line:
                break
        assert list(scratch.iterdir())
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == code
    assert "Traceback" not in said
    assert list(scratch.iterdir()) == []


def of_numbers(*values: float) -> Prediction:
    return Prediction(np.array(values))


def of_classes(labels: str, probabilities: Any) -> Prediction:
    return Prediction(np.array(list(labels), dtype=object), np.array(probabilities))


NUMBERS, CLASSES = of_numbers(0.0, np.nan, 1.0, 2.0), of_classes("xy", [[0.5, 0.5], [0.2, 0.8]])


def test_difference_is_bit_for_bit_and_counts_labels_and_probabilities():
    assert difference(NUMBERS, of_numbers(0.0, np.nan, 1.0, 2.0)).identical
    found = difference(NUMBERS, of_numbers(-0.0, np.nan, 1.0, 2.5))
    assert (found.rows, found.differing, found.largest, found.identical) == (4, 2, 0.5, False)
    found = difference(CLASSES, of_classes("yy", [[0.25, 0.75], [0.2, 0.8]]))
    assert (found.rows, found.differing, found.largest, found.labels) == (2, 1, 0.25, 1)
    assert not difference(CLASSES, of_classes("yy", CLASSES.probabilities)).identical
    assert difference(CLASSES, of_classes("xy", [[0.5, 0.4, 0.1], [0.2, 0.8, 0.0]])).differing == 2


def test_answers_come_back_from_the_file(tmp_path):
    assert read_answers(tmp_path) is None
    others = of_numbers(2.0, np.nan), of_classes("yy", [[0.4, 0.6], [0.2, 0.8]])
    for both in zip((of_numbers(1.0, np.nan), CLASSES), others, strict=True):
        write_answers(tmp_path, *both)
        kept = read_answers(tmp_path)
        assert all(difference(*pair).identical for pair in zip(kept, both, strict=True))
        assert not difference(*kept).identical


REPOSITORY = Path(__file__).parents[4]
PACKAGE = "certifi"


def with_an_older(package: str, lock: str) -> str:
    """The lock with the release before the one that is installed here."""
    found = [REPOSITORY / ".cache" / "uv" / "bin" / "uv", "uv"]
    uv = next(str(one) for one in found if Path(one).exists() or one == "uv")
    command = [uv, "pip", "compile", "-", "--generate-hashes", "--no-deps", "--no-header", "--no-annotate", "--quiet"]
    command += ["--no-emit-index-url", "--python-version", "3.11"]
    asked = f"{package}<{version(package)}\n"
    pin = subprocess.run(command, input=asked, check=True, capture_output=True, text=True).stdout
    changed, times = re.subn(rf"^{package}==[^\n]*\\\n(    --hash=[^\n]*\n)+", pin, lock, flags=re.MULTILINE)
    assert times == 1
    return changed


@pytest.mark.slow
def test_environment_is_made_from_the_commits_lock(new_project, scratch):
    project = new_project()
    lock = project.root / "requirements.txt"
    lock.write_text(with_an_older(PACKAGE, lock.read_text()))
    (project.root / ".gitignore").open("a").write("mlflow.db*\nmlartifacts/\n")
    project.commit("An older package")
    path = os.environ["PATH"] + os.pathsep + str(REPOSITORY / ".cache" / "uv" / "bin")
    base = getattr(sys, "_base_executable", sys.executable)
    environ = os.environ | {"PATH": path}
    subprocess.run([base, "tools/environment.py", ".venv"], cwd=project.root, env=environ, check=True)
    subprocess.run([".venv/bin/python", "-m", "starterkit", "run"], cwd=project.root, check=True)

    done = project.reproduce(1)
    assert (done.environment, done.identical, done.lineage.off_lock) == ("made from the commit's lock", True, {})
    assert all(states(done).values())
    assert list(scratch.iterdir()) == []


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Any]) -> Any:
    return new_project()


def test_checkout_is_the_commit_and_not_the_tree(project, scratch):
    head = project.git("rev-parse", "HEAD")
    (project.root / "new.py").write_text("1\n")
    before = project.files()
    checkout = Checkout(load_settings(project.root, {}), head, scratch)
    assert (checkout.root / "src" / "starterkit" / "release" / "retrain.py").is_file()
    assert not (checkout.root / "new.py").exists()
    assert project.files() == before


def test_commit_that_no_branch_leads_to_is_found(project, scratch):
    project.git("checkout", "-q", "--detach")
    (project.root / "config" / "extra").write_text("1\n")
    lost = project.commit("Soon on no branch")
    project.git("checkout", "-q", "-")
    assert (Checkout(load_settings(project.root, {}), lost, scratch).root / "config" / "extra").exists()


def test_commit_that_cannot_train_by_itself_is_one_line(project, scratch):
    project.git("checkout", "-q", "-b", "older")
    project.git("rm", "-q", "src/starterkit/release/retrain.py")
    older = project.commit("Before the kit could do this")
    project.git("checkout", "-q", "-")
    with pytest.raises(Refused, match=f"commit {older[:12]} is older than `starterkit reproduce`"):
        Checkout(load_settings(project.root, {}), older, scratch)


def test_kit_below_the_repositorys_top_is_found(tmp_path, project, scratch):
    sub = tmp_path / "mono" / "models"
    sub.parent.mkdir()
    project.git("worktree", "add", "-q", "--detach", str(sub))
    (sub / ".git").unlink()
    outer = type(project)(sub.parent)
    outer.git("init", "-q")
    head = outer.commit("A kit among other things")
    checkout = Checkout(load_settings(sub, {}), head, scratch)
    assert checkout.root == scratch / "code" / "models"
    project.git("worktree", "prune")


def test_environment_is_made_where_the_commits_lock_is_not_held(project, scratch):
    lock = project.root / "requirements.txt"
    text = lock.read_text()
    lock.write_text(text.replace("\nnumpy==", "\nnumpy==0."))
    (project.root / "tools" / "environment.py").write_text(
        "import sys\nprint('environment: no such numpy', sys.argv[1], file=sys.stderr)\nsys.exit(1)\n"
    )
    head = project.commit("Another numpy")
    checkout = Checkout(load_settings(project.root, {}), head, scratch)
    with pytest.raises(KitError, match=r"environment of that commit cannot be made: no such numpy \.venv"):
        checkout.make_environment()
    project.git("reset", "-q", "--hard", "HEAD~1")


def test_data_come_from_the_commit_or_from_here(project, scratch, tmp_path):
    at_head = Checkout(load_settings(project.root, {}), project.git("rev-parse", "HEAD"), scratch)
    assert at_head.bring_data("data/diabetes.csv") == "the commit"
    assert at_head.bring_data("postgresql://user@host/name") == "the database as it is now"
    assert at_head.bring_data("elsewhere/none.csv").startswith("nowhere")
    (project.root / "warehouse.db").write_text("tables")
    assert at_head.bring_data("sqlite:///warehouse.db") == "outside of git, as it is now"
    assert (at_head.root / "warehouse.db").read_text() == "tables"
    absolute = tmp_path / "rows.csv"
    absolute.write_text("rows")
    assert at_head.bring_data(str(absolute)) == "outside of git, as it is now"
    assert at_head._environ(str(absolute))["KIT_DATA__SOURCE"] == str(absolute)


@pytest.mark.parametrize(
    "name", ["../../outside.csv", "../outside.csv", "sqlite:///../../outside.db", "leads/out/outside.csv"]
)
def test_data_outside_of_the_repository_are_read_where_they_are(project, tmp_path, name):
    root = tmp_path / "a" / "b" / "project"
    project.git("clone", "-q", str(project.root), str(root))
    moved = type(project)(root)
    (root / "leads").mkdir()
    (root / "leads" / "out").symlink_to("../../..")
    head = moved.commit("A link that leads out")
    scratch = tmp_path / "scratch" / "deep"
    scratch.mkdir(parents=True)
    prefix = "sqlite:///" if name.startswith("sqlite") else ""
    file = (root / name.removeprefix(prefix)).resolve()
    checkout = Checkout(load_settings(root, {}), head, scratch)
    assert checkout.bring_data(name).startswith("nowhere")
    file.write_text("rows")
    assert checkout.bring_data(name) == "outside of git, as it is now"
    assert checkout._environ(name)["KIT_DATA__SOURCE"] == f"{prefix}{file}"
    assert [path for path in tmp_path.rglob("outside.*") if path != file] == []


def test_training_again_sees_the_way_to_the_data_and_no_other_setting(project, scratch, monkeypatch):
    (project.root / "secrets").mkdir(exist_ok=True)
    (project.root / "secrets" / "KIT_DATA__PASSWORD").write_text("from a file")
    monkeypatch.setenv("KIT_DATA__QUERY", "select 1")
    monkeypatch.setenv("KIT_TRAINING__SEED", "9")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    settings = load_settings(project.root, {})
    checkout = Checkout(settings, project.git("rev-parse", "HEAD"), scratch)
    passed = checkout._environ("postgresql://user@host/name")
    given = {"KIT_STAGE": "local", "KIT_DATA__QUERY": "select 1", "KIT_DATA__PASSWORD": "from a file"}
    given["KIT_DATA__SOURCE"] = "postgresql://user@host/name"
    assert {name: value for name, value in passed.items() if name.startswith("KIT_")} == given
    assert "MLFLOW_TRACKING_TOKEN" not in passed
    assert "KIT_DATA__QUERY" not in checkout._environ("data/diabetes.csv")
    monkeypatch.setenv("KIT_DATA__SOURCE", "postgresql://user:word@host/name")
    assert checkout._environ("postgresql://user:***@host/name")["KIT_DATA__SOURCE"].endswith(":word@host/name")
