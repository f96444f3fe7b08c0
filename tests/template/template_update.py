"""What `make update` makes of changes on both sides."""

import json
from collections.abc import Callable

import pytest
from workshop import Folder

GATE, OLD, NEW = "src/starterkit/gate.py", "src/starterkit/old.py", "src/starterkit/new.py"
MINE, OWN = "src/starterkit/mine.py", "src/churn/mine.py"


def take(project: Folder, template: Folder, *source: object, commit: bool = True) -> str:
    """An update that has to go well."""
    if commit:
        template.commit()
    told = project.update(*source)
    assert told.code == 0, told.said
    return told.said


def says(project: Folder, *lines: str) -> bool:
    """Whether the gate's file has all of these."""
    return {*lines} <= {*project.read(GATE).splitlines()}


Change = Callable[[Folder], object]


def edit(path: str, old: str, new: str) -> Change:
    return lambda folder: folder.edit(path, old, new)


def write(path: str, text: str) -> Change:
    return lambda folder: folder.write(path, text)


def move(path: str) -> Change:
    return lambda folder: folder.git("mv", OLD, path)


def remove(folder: Folder) -> None:
    (folder.root / OLD).unlink()


def test_what_the_template_changed_arrives_and_is_not_committed(template, project):
    template.edit(GATE, "line 3\n", "line three of example_project\n")
    template.write("src/starterkit/added.py", "from example_project import problem\n")
    (template.root / "tools/run.sh").chmod(0o644)
    template.write("docs/picture.bin", b"\0\1\2 other")
    take(project, template)
    assert "line three of churn\n" in project.read(GATE)
    assert project.read("src/starterkit/added.py") == "from churn import problem\n"
    assert not (project.root / "tools/run.sh").stat().st_mode & 0o100
    assert (project.root / "docs/picture.bin").read_bytes() == b"\0\1\2 other"
    assert len(project.git("log", "--format=%h").splitlines()) == 1
    project.git("commit", "-q", "-m", "Update")
    assert project.changes == ""


@pytest.mark.parametrize(
    ("mine", "theirs", "place"),
    [
        (edit(GATE, "line 25\n", "mine\n"), [edit(GATE, "line 3\n", "theirs\n")], GATE),
        (edit(OLD, "old 25\n", "mine\n"), [move(NEW), edit(NEW, "old 3\n", "theirs\n")], NEW),
        (move(MINE), [edit(OLD, "old 3\n", "theirs\n")], MINE),
    ],
    ids=["one file", "an edit follows a rename", "a rename meets an edit"],
)
def test_what_both_sides_changed_is_merged(template, project, mine, theirs, place):
    project.git("config", "merge.renames", "false")  # a setting of one's own does not change what is promised
    mine(project)
    project.commit()
    for change in theirs:
        change(template)
    assert "You deleted" not in take(project, template)
    assert "theirs\n" in project.read(place)
    assert ("mine\n" in project.read(place)) == (place != MINE)
    assert (project.root / OLD).exists() == (place == GATE)


@pytest.mark.parametrize(
    ("mine", "theirs", "said", "kept"),
    [
        (move(MINE), move(NEW), "CONFLICT (rename/rename)", {MINE: "old 3\n"}),
        (edit(OLD, "old 3\n", "mine\n"), remove, f"{OLD} deleted in the template's and modified in", {OLD: "mine\n"}),
        (remove, edit(OLD, "old 3\n", "theirs\n"), f"{OLD} deleted in HEAD and modified in the template's", {}),
        (write(NEW, "mine\n"), write(NEW, "theirs\n"), NEW, {NEW: "mine\n"}),
        # No edit follows a file of the kit into the project's own folder.
        (move(OWN), edit(OLD, "old 3\n", "theirs\n"), f"{OLD} deleted in HEAD", {OWN: "old 3\n"}),
    ],
)
def test_what_cannot_be_merged_is_a_conflict(template, project, mine, theirs, said, kept):
    mine(project)
    project.commit()
    theirs(template)
    template.commit()
    told = project.update()
    assert (told.code, "CONFLICT" in told.said, said in told.said) == (1, True, True), told.said
    assert all(text in project.read(path) for path, text in kept.items())
    project.git("reset", "--hard")
    assert project.changes == ""


def test_edits_at_one_place_conflict_with_markers_and_one_command_undoes_that_and_a_merge(template, project):
    project.edit(GATE, "line 3\n", "line mine\n")
    project.commit()
    template.edit(GATE, "line 3\n", "line three\n")
    template.edit(OLD, "old 3\n", "old three\n")
    template.commit()
    told = project.update()
    assert told.code == 1
    for words in (f"Merge conflict in {GATE}", "Undo: git reset --hard"):
        assert words in told.said
    assert "<<<<<<< HEAD\nline mine\n=======\nline three\n>>>>>>> the template's\n" in project.read(GATE)
    assert project.git("diff", "--name-only", "--diff-filter=U") == GATE
    assert "old three" in project.read(OLD)
    again = project.update()
    assert (again.code, "there are changes" in again.said) == (2, True)
    project.git("reset", "--hard")
    assert (project.changes, says(project, "line mine")) == ("", True)
    project.edit(GATE, "line mine\n", "line 3\n")
    project.commit()
    assert "Undo: git reset --hard" in take(project, template, commit=False)
    project.git("reset", "--hard")
    assert not says(project, "line three")
    take(project, template, commit=False)  # and it can be taken again
    assert says(project, "line three")


def test_what_is_deleted_stays_so_and_is_told(template, project):
    remove(project)
    project.commit()
    template.edit(GATE, "line 3\n", "line three\n")
    assert f"You deleted these, and they stay deleted: {OLD}" in take(project, template)
    project.git("commit", "-q", "-m", "Update")
    for path in (OLD, GATE):  # what both deleted is no conflict, and what only the template had goes
        (template.root / path).unlink()
    take(project, template)
    assert not {OLD, GATE} & {*project.files}


def test_the_projects_own_folders_are_never_touched(template, project):
    own = ["src/churn/problem.py", "config/base.yaml", "data/table.csv", "tests/churn/test_it.py", "README.md"]
    project.edit("src/churn/problem.py", "Problem\n", "Problem, feature\n")
    project.commit()
    before = {path: project.git("rev-parse", f"HEAD:{path}") for path in own}
    for path in (*(path.replace("churn", "example_project") for path in own[:-1]), "docs/readme-of-a-copy.md"):
        template.write(path, "other\n")
    template.write("notebooks/second.ipynb", "{}\n")
    template.git("rm", "-q", "notebooks/look.ipynb")
    template.edit(GATE, "line 3\n", "line three\n")
    said = take(project, template)
    project.git("commit", "-q", "-m", "Update")
    assert {path: project.git("rev-parse", f"HEAD:{path}") for path in own} == before
    assert [path for path in project.files if path.startswith("notebooks")] == ["notebooks/look.ipynb"]
    (told,) = [line for line in said.splitlines() if line.startswith("Yours, and left alone.")]
    assert told.endswith(" ".join(sorted([*own, "notebooks/look.ipynb", "notebooks/second.ipynb"])))
    assert "+other\n" in project.git(*told.partition("git ")[2].split())


def test_the_projects_version_and_the_templates_are_two(template, project):
    project.edit("pyproject.toml", 'version = "0.1.0"', 'version = "3.2.1"')
    project.commit()
    template.edit("pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"')
    said = take(project, template)
    assert 'version = "3.2.1"' in project.read("pyproject.toml")
    assert json.loads(project.read(".starterkit.json"))["version"] == "0.2.0"
    assert said.startswith("From the template's 0.1.0 (")


@pytest.mark.parametrize("name", ["default", "churn-2"])
def test_the_problems_name_is_the_projects(name, template, made):
    """``default`` is what projects had before the entry point's name was the problem's."""
    now = template.git("rev-parse", "HEAD")
    template.edit("pyproject.toml", "diabetes =", "default =")
    template.edit("tools/template/parts.toml", "'^diabetes = ", "'^nothing = ")
    template.commit()
    project = made()
    project.edit("pyproject.toml", "churn =", f"{name} =")
    project.commit()
    template.git("checkout", "-q", now, ".")
    template.edit(GATE, "line 3\n", "line three\n")
    take(project, template)
    assert f'\n{name} = "churn:problem"\n' in project.read("pyproject.toml")


def test_parts_that_were_left_out_stay_out(template, made):
    project = made(without="stack")
    template.write("docs/stack-more.md", "more\n")
    template.edit("docs/stack.md", "The stack", "The whole stack")
    template.edit("Makefile", "backup:\n", "backup: first\nrestore:\n")
    template.edit("Makefile", "all: run\n", "all: run test\n")
    take(project, template)
    assert project.read("Makefile") == "all: run test\nrun:\n"
    assert not [path for path in project.files if path.startswith("docs/stack")]
    assert json.loads(project.read(".starterkit.json"))["without"] == ["stack"]


def test_changes_that_are_not_committed_are_refused(template, project):
    template.edit(GATE, "line 3\n", "line three\n")
    template.commit()
    for path, content in ((GATE, "mine\n"), ("notes.txt", "git does not track this\n")):
        project.write(path, content)
        project.update().require_refusal("git stash -u")
        assert project.read(path) == content
        project.git("stash", "-u", "-q")


def test_a_dry_run_shows_the_diff_and_changes_nothing(template, project):
    template.edit(GATE, "line 3\n", "line three of example_project\n")
    template.commit()
    project.write("notes.txt", "a dry run minds no changes\n")
    said = take(project, template, "--dry-run", commit=False)
    assert "-line 3\n+line three of churn\n" in said
    assert project.changes == "?? notes.txt"


def test_the_changelogs_entries_and_steps_come_first(template, project):
    steps = "## [0.2.0]\n\n### To do after an update\n\n- Run `make lock`.\n"
    added = "### Added\n\n- The second.\n- The first.\n"
    template.write("CHANGELOG.md", f"# Changelog\n\n## [Unreleased]\n\n{steps}\n{added}")
    template.edit(GATE, "line 3\n", "line three\n")
    said = take(project, template)
    assert (steps in said, "- The second.\n" in said, "- The first." in said) == (True, True, False)
    assert said.index("make lock") < said.index("Merged.")
    project.git("commit", "-q", "-m", "Update")
    template.edit("CHANGELOG.md", "- Run `make lock`.\n", "- Run `make lock`.\n- Run `make env`.\n")
    assert "\n### To do after an update\n\n- Run `make env`.\n" in take(project, template)


def test_nothing_new_and_a_folder_that_is_no_project_are_told(template, project):
    said = take(project, template, commit=False)
    assert said.startswith("Nothing new: this is the template's 0.1.0")
    assert (said.count("\n"), project.changes) == (1, "")
    template.update().require_refusal("no .starterkit.json at a repository's root here")
    (project.root / ".git").rename(project.root / "elsewhere")
    Folder(project.root.parent).git("init", "-q")  # of which the project is a folder
    project.update().require_refusal("at a repository's root")


def test_an_uncommitted_template_is_a_source_and_a_base(template, made):
    template.edit(GATE, "line 3\n", "line draft\n")
    project = made()
    template.edit(GATE, "line draft\n", "line draft two\n")
    template.edit(GATE, "line 25\n", "line twenty-five\n")
    said = take(project, template, commit=False)
    assert "-dirty)" in said
    project.git("commit", "-q", "-m", "Update")
    template.git("checkout", "-q", ".")  # now the template has neither draft anywhere
    for folder in (template, project):
        folder.git("gc", "-q", "--prune=now")
    template.edit(GATE, "line 3\n", "line three\n")
    take(project, template)
    assert says(project, "line three", "line 25")


def test_a_clone_of_the_project_finds_the_base_in_the_template(template, project, tmp_path):
    project.edit(GATE, "line 25\n", "line mine\n")
    project.commit()
    clone = Folder(tmp_path / "clone")
    project.git("clone", "-q", f"file://{project.root}", str(clone.root))  # by its path it would bring all objects
    template.edit(GATE, "line 3\n", "line three\n")
    take(clone, template)
    assert says(clone, "line mine", "line three")


def test_a_base_that_is_nowhere_is_told(template, made, tmp_path):
    template.edit(GATE, "line 3\n", "line draft\n")
    clone = Folder(tmp_path / "clone")
    template.git("clone", "-q", f"file://{made().root}", str(clone.root))
    template.git("checkout", "-q", ".")
    template.git("gc", "-q", "--prune=now")
    clone.update().require_refusal("lacks the version of this project")
    assert clone.changes == ""


@pytest.mark.parametrize("form", ["file://{}", "{}", "relative"])
def test_the_source_may_be_an_address(template, project, tmp_path, form):
    bare = tmp_path / "bäre.git"
    template.edit(GATE, "line 3\n", "line three\n")
    template.commit()
    template.git("clone", "-q", "--bare", str(template.root), str(bare))
    source = "../bäre.git" if form == "relative" else form.format(bare)
    take(project, template, source, commit=False)
    assert says(project, "line three")
    assert json.loads(project.read(".starterkit.json"))["template"] == source


def test_an_address_is_recorded_and_told_without_its_secrets(template, project):
    address = "https://someone:s3cret@example.org/kit.git"
    project.git("config", "--global", f"url.file://{template.root}.insteadOf", address)
    template.edit(GATE, "line 3\n", "line three\n")
    take(project, template, address)
    assert json.loads(project.read(".starterkit.json"))["template"] == "https://example.org/kit.git"
    project.git("reset", "-q", "--hard")
    told = project.update("https://someone:s3cret@localhost:1/kit.git")
    assert (told.code, told.said.count("\n")) == (2, 1)
    assert "s3cret" not in told.said


def test_what_is_no_template_is_told(project, tmp_path):
    other = Folder(tmp_path / "other")
    other.root.mkdir()
    other.git("init", "-q")
    other.write("a.txt", "a")
    other.commit()
    project.update(other.root).require_refusal("is no template, or an older one")
    told = project.update(tmp_path / "nowhere")
    assert (told.code, told.said.count("\n")) == (2, 1)


def test_a_project_made_in_place_is_a_commit_on_top_and_takes_updates(template, tmp_path):
    """ "Use this template" gives the files with a history of its own; the tree's id is the same."""
    used = Folder(tmp_path / "used")
    template.git("clone", "-q", str(template.root), str(used.root))
    used.git("checkout", "-q", "--orphan", "fresh")
    used.git("commit", "-q", "-m", "Initial commit")
    used.git("remote", "set-url", "origin", "https://localhost:1/mine.git")
    assert used.new("churn").code == 0
    assert used.git("log", "--format=%s").splitlines() == ["churn, from the template's 0.1.0", "Initial commit"]
    assert used.changes == ""
    assert "src/churn/problem.py" in used.files
    assert not [name for name in ("bench", "src/example_project") if (used.root / name).exists()]
    used.edit(GATE, "line 25\n", "line mine\n")
    used.commit()
    template.edit(GATE, "line 3\n", "line three\n")
    take(used, template, template.root)
    assert says(used, "line mine", "line three")
