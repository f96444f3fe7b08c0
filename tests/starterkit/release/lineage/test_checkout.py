"""An earlier commit in a scratch folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from starterkit.errors import KitError, Refused
from starterkit.release.reproducer import Checkout
from starterkit.settings import load_settings


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Any]) -> Any:
    return new_project()


@pytest.fixture
def at_head(project: Any, scratch: Path) -> Checkout:
    return Checkout(load_settings(project.root, {}), project.git("rev-parse", "HEAD"), scratch)


def test_checkout_is_the_commit_and_not_the_tree(project: Any, scratch: Path) -> None:
    head = project.git("rev-parse", "HEAD")
    (project.root / "new.py").write_text("1\n")
    before = project.files()
    checkout = Checkout(load_settings(project.root, {}), head, scratch)
    assert (checkout.root / "src" / "starterkit" / "release" / "retrain.py").is_file()
    assert not (checkout.root / "new.py").exists()
    assert project.files() == before


def test_commit_that_no_branch_leads_to_is_found(project: Any, scratch: Path) -> None:
    project.git("checkout", "-q", "--detach")
    (project.root / "config" / "extra").write_text("1\n")
    lost = project.commit("Soon on no branch")
    project.git("checkout", "-q", "-")
    assert (Checkout(load_settings(project.root, {}), lost, scratch).root / "config" / "extra").exists()


def test_commit_that_cannot_train_by_itself_is_one_line(project: Any, scratch: Path) -> None:
    project.git("checkout", "-q", "-b", "older")
    project.git("rm", "-q", "src/starterkit/release/retrain.py")
    older = project.commit("Before the kit could do this")
    project.git("checkout", "-q", "-")
    with pytest.raises(Refused, match=f"commit {older[:12]} is older than `starterkit reproduce`"):
        Checkout(load_settings(project.root, {}), older, scratch)


def test_kit_below_the_repositorys_top_is_found(tmp_path: Path, project: Any, scratch: Path) -> None:
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


def test_environment_is_made_where_the_commits_lock_is_not_held(project: Any, scratch: Path) -> None:
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


def test_data_come_from_the_commit_or_from_here(project: Any, at_head: Checkout, tmp_path: Path) -> None:
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
def test_data_outside_of_the_repository_are_read_where_they_are(project: Any, tmp_path: Path, name: str) -> None:
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


def test_training_again_sees_the_way_to_the_data_and_no_other_setting(
    project: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / "secrets").mkdir(exist_ok=True)
    (project.root / "secrets" / "KIT_DATA__PASSWORD").write_text("from a file")
    monkeypatch.setenv("KIT_DATA__QUERY", "select 1")
    monkeypatch.setenv("KIT_TRAINING__SEED", "9")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    settings = load_settings(project.root, {})
    checkout = Checkout(settings, project.git("rev-parse", "HEAD"), scratch)
    passed = checkout._environ("postgresql://user@host/name")
    assert {name: value for name, value in passed.items() if name.startswith("KIT_")} == {
        "KIT_STAGE": "local",
        "KIT_DATA__SOURCE": "postgresql://user@host/name",
        "KIT_DATA__QUERY": "select 1",
        "KIT_DATA__PASSWORD": "from a file",
    }
    assert "MLFLOW_TRACKING_TOKEN" not in passed
    assert "KIT_DATA__QUERY" not in checkout._environ("data/diabetes.csv")
    monkeypatch.setenv("KIT_DATA__SOURCE", "postgresql://user:word@host/name")
    assert checkout._environ("postgresql://user:***@host/name")["KIT_DATA__SOURCE"].endswith(":word@host/name")
