"""What `make new` makes, and what it refuses."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from workshop import MACHINERY, REPOSITORY, Folder

Make = Callable[..., Folder]


def test_imports_and_other_words_follow_the_name(made):
    text = made("zoo", dest="zoo").read("tests/zoo/test_it.py")
    assert text == "from starterkit.data import Reader\nfrom zoo import problem\n"
    project = made("churn_rate")
    assert 'name = "churn-rate"' in project.read("pyproject.toml")
    assert '\nchurn-rate = "churn_rate:problem"\n' in project.read("pyproject.toml")
    assert "via churn-rate (pyproject" in project.read("requirements.txt")
    assert project.read("config/test.yaml") == "data:\n  source: data/test/churn-rate.parquet # made\n"


def test_it_is_one_commit_of_a_clean_repository_by_its_user_and_the_templates_own_stays_behind(project):
    gone = ("CHANGELOG.md", "bench/batch.py", "tests/starterkit/test_gate.py", f"{MACHINERY}/new.py")
    assert not {*gone} & {*project.files}
    assert project.read("Makefile") == "all: run\nbackup:\nrun:\n"
    assert project.git("log", "--format=%an %s") == "A Person churn, from the template's 0.1.0"
    assert (project.changes, project.git("fsck", "--no-dangling"), project.git("remote")) == ("", "", "")


def test_without_an_identity_the_first_commit_has_a_neutral_one(template, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    assert template.new("churn", tmp_path / "churn").code == 0
    assert Folder(tmp_path / "churn").git("log", "--format=%an") == "starterkit"
    assert Folder(tmp_path / "churn").run("git", "config", "user.name").code == 1


def test_a_shallow_clone_and_a_worktree_are_templates_too(template, tmp_path):
    template.git("clone", "-q", "--depth", "1", f"file://{template.root}", str(tmp_path / "shallow"))
    template.git("worktree", "add", "-q", str(tmp_path / "worktree"))
    for place in ("shallow", "worktree"):
        assert Folder(tmp_path / place).new("churn", tmp_path / f"of {place}").code == 0
        assert Folder(tmp_path / f"of {place}").git("rev-parse", "--is-shallow-repository") == "false"


def test_the_record_says_where_it_comes_from(template, project):
    record = json.loads(project.read(".starterkit.json"))
    where = {"commit": template.git("rev-parse", "HEAD"), "tree": template.git("rev-parse", "HEAD^{tree}")}
    assert record == {"name": "churn", "without": [], "template": str(template.root), "version": "0.1.0"} | where


def test_an_address_is_recorded_without_its_secrets_and_only_where_it_has_this_version(template, made):
    template.git("remote", "add", "origin", "https://someone:s3cret@example.org/kit.git")
    template.git("update-ref", "refs/remotes/origin/main", "HEAD")  # what `git push` leaves
    project = made()
    assert json.loads(project.read(".starterkit.json"))["template"] == "https://example.org/kit.git"
    assert project.run("git", "grep", "-a", "s3cret").code == 1
    template.edit("src/starterkit/gate.py", "line 3\n", "line three\n")
    assert json.loads(made(dest="later").read(".starterkit.json"))["template"] == str(template.root)


def test_bytes_and_modes_survive(template, project):
    assert (project.root / "docs/picture.bin").read_bytes() == (template.root / "docs/picture.bin").read_bytes()
    assert (project.root / "docs/latin.txt").read_bytes() == b"churn, caf\xe9\r\n"
    assert (project.root / "tools/start.bat").read_bytes() == b"echo churn\r\n"
    assert os.access(project.root / "tools/run.sh", os.X_OK)
    assert project.git("ls-files", "-s", "tools/run.sh").startswith("100755")


def test_a_checkout_with_other_line_endings_makes_the_same_project(template, made, tmp_path, monkeypatch):
    first = made()
    with Path(os.environ["GIT_CONFIG_GLOBAL"]).open("a") as settings:
        settings.write("[core]\nautocrlf = true\nfileMode = false\n")
    template.write(".gitattributes", "*.bin binary\ndocs/*.txt -text\n")
    template.commit("No attributes")
    windows = Folder(tmp_path / "windows")
    template.git("clone", "-q", str(template.root), str(windows.root))
    assert b"\r\n" in (windows.root / "Makefile").read_bytes()
    windows.write("src/starterkit/gate.py", windows.read("src/starterkit/gate.py").replace("line 3\r", "line three\r"))
    assert windows.new("churn", tmp_path / "second").code == 0
    second = Folder(tmp_path / "second")
    both = (first, second)
    differs = [path for path in first.files if len({one.git("rev-parse", f"HEAD:{path}") for one in both}) > 1]
    assert differs == [".gitattributes", ".starterkit.json", "src/starterkit/gate.py"]
    assert second.git("ls-files", "-s", "tools/run.sh").startswith("100755")


def test_an_uncommitted_template_is_copied_as_it_stands(template, made):
    template.edit("src/starterkit/gate.py", "line 3\n", "line three\n")
    template.write("src/starterkit/added.py", "added\n")
    template.git("add", "src/starterkit/added.py")
    template.write("src/starterkit/notes.py", "git does not track this\n")
    template.write("secret.txt", "ignored\n")
    (template.root / "src/starterkit/old.py").unlink()
    before = template.changes
    project = made()
    assert "line three" in project.read("src/starterkit/gate.py")
    assert "src/starterkit/added.py" in project.files
    assert not {"src/starterkit/notes.py", "secret.txt", "src/starterkit/old.py"} & {*project.files}
    assert json.loads(project.read(".starterkit.json"))["commit"].endswith("-dirty")
    assert template.changes == before
    assert template.git("stash", "list") == ""


def test_a_hooks_variables_lead_nowhere_else(template, tmp_path, monkeypatch):
    before = template.git("rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(template.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(template.root / ".git" / "index"))
    assert template.new("churn", tmp_path / "churn").code == 0
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert (template.git("rev-parse", "HEAD"), template.changes) == (before, "")
    assert Folder(tmp_path / "churn").changes == ""


def test_the_template_itself_is_changed_only_where_that_was_said(template):
    """With a history it is the template, or a clone of it, and DEST may have been forgotten."""
    template.edit("src/starterkit/gate.py", "line 3\n", "line three\n")
    template.new("churn").require_refusal("commit them first")
    template.commit()
    template.new("churn").require_refusal("DEST=../churn makes a project beside it, DEST=. here")
    assert (template.root / "src/example_project").exists()
    assert template.new("churn", ".").code == 0
    assert "src/churn/problem.py" in template.files


NO_NAMES = {
    "letters a to z": [
        "", "my churn", "my-churn", "Churn", "1churn", "_churn", "churn_", "größe", "отток", "ch'urn", 'ch"urn',
        "churn\n", "../churn", "$(id)", "c" * 41,
    ],
    "a word of Python's": ["class", "match"],
    "a module": ["json", "numpy", "scikit_learn", "sklearn", "starterkit", "example_project"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "why"), [(name, why) for why, names in NO_NAMES.items() for name in names])
def test_a_name_that_cannot_be_is_refused_in_one_line(template, tmp_path, name, why):
    template.new(name, tmp_path / "churn").require_refusal(why)
    assert not (tmp_path / "churn").exists()


def test_every_module_of_the_environment_is_taken(template, tmp_path):
    """Without the environment the locks and one list know them: both are asked here, by a Python that has none."""
    for lock in REPOSITORY.glob("requirements*.txt"):
        template.write(lock.name, lock.read_bytes())
    modules = [name for name in packages_distributions() if re.fullmatch("[a-z](_?[a-z0-9]){0,39}", name)]
    asked = "import sys; sys.path.insert(0, 'tools/template'); import new\n" + "".join(
        f"try: new.check({name!r}, []); print({name!r})\nexcept new.Refused: pass\n" for name in modules
    )
    assert len(modules) > 80
    assert template.run(sys.executable, "-S", "-c", asked).said == ""


def test_a_part_that_is_not_there_is_refused_with_those_that_are(template, tmp_path):
    told = template.new("churn", tmp_path / "churn", "stack grafana")
    told.require_refusal("WITHOUT=grafana", "azure, devcontainer, image, inference, ")


@pytest.mark.parametrize("dest", ["full", "file", "the tëmplate", "the tëmplate/churn", "a link/churn"])
def test_a_place_that_is_taken_is_refused(template, tmp_path, dest):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "a link").symlink_to(template.root)
    template.new("churn", tmp_path / dest).require_refusal("name a new folder")
    assert template.changes == ""


def test_other_places_are_taken(template, tmp_path):
    (tmp_path / "empty").mkdir()
    for dest in (tmp_path / "empty", tmp_path / "a" / "b" / "churn", "../beside"):  # the last one from within it
        assert template.new("churn", dest).code == 0
    assert (tmp_path / "beside" / "README.md").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux has a folder that not even root can write")
def test_a_place_where_nothing_can_be_made_is_named(template):
    template.new("churn", "/proc/churn").require_refusal("/proc/")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_one_line_and_leaves_nothing(template, tmp_path):
    disk = tmp_path / "small disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        template.new("churn", disk / "churn").require_refusal("No space left on device")
        assert [*disk.iterdir()] == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_without_git_it_says_so(template, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    template.new("churn", tmp_path / "churn").require_refusal("'git'")


@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 0.5])
def test_ctrl_c_leaves_all_or_nothing(template, tmp_path, after):
    place = tmp_path / "place"
    place.mkdir()
    command = [sys.executable, "-S", f"{MACHINERY}/new.py", "churn", str(place / "churn")]
    child = subprocess.Popen(command, cwd=template.root, stderr=subprocess.PIPE, start_new_session=True)
    try:
        child.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does: git gets it too
    child.communicate()
    left = [path.name for path in place.iterdir()]
    assert left in ([], ["churn"])
    if left:
        assert Folder(place / "churn").changes == ""


def test_the_machinery_is_small_and_needs_nothing():
    files = [*(REPOSITORY / MACHINERY).glob("*.py")]
    assert sum(len(file.read_text("utf-8").splitlines()) for file in files) < 250
    found = (re.findall(r"^(?:import|from) (\w+)", file.read_text("utf-8"), re.MULTILINE) for file in files)
    imports = {name for names in found for name in names}
    assert imports - {"rendering"} <= sys.stdlib_module_names
