"""Small templates and projects of them: the real machinery, and files that are no more than each case needs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workshop import BEFORE_THE_MOVE, MACHINERY, OF_THE_KIT, REPOSITORY, Folder

FILES = {
    ".gitattributes": "* text=auto eol=lf\n*.bat text eol=crlf\n*.bin binary\ndocs/*.txt -text\n",
    ".gitignore": "__pycache__/\nsecret.txt\n",
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- The first.\n",
    "LICENSE": "The MLflow SDK Starter Kit authors\n",
    "README.md": "# MLflow SDK Starter Kit\n",
    "bench/batch.py": "",
    "config/base.yaml": "gate: 1\n",
    "config/test.yaml": "data:\n  source: data/test/diabetes.parquet # made\n",
    "data/table.csv": "a,b\n1,2\n",
    "docs/readme-of-a-copy.md": "# example_project\n",
    "docs/stack.md": "The stack of mlflow-starter-kit.\n",
    "notebooks/look.ipynb": '{"from": "example_project"}\n',
    "pyproject.toml": '[project]\nname = "mlflow-starter-kit"\nversion = "0.1.0"\n'
    '[project.entry-points."starterkit.problem"]\ndiabetes = "example_project:problem"\n',
    "requirements.txt": "numpy==2.4.6 \\\nscikit-learn==1.9.1\n    # via mlflow-starter-kit (pyproject.toml)\n",
    "src/example_project/problem.py": "from starterkit.problem import Problem\n",
    "src/starterkit/gate.py": "".join(f"line {number}\n" for number in range(1, 31)),
    "src/starterkit/old.py": "".join(f"old {number}\n" for number in range(1, 31)),
    "tests/example_project/test_it.py": "from example_project import problem\nfrom starterkit.data import Reader\n",
    "tests/starterkit/test_gate.py": "",
    "Makefile": "all: run\n# <stack>\nbackup:\n# </stack>\n# <template>\nbench:\n# </template>\nrun:\n",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="run every copy's own tests")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for report in terminalreporter.stats.get("passed", []):
        for what, took in report.user_properties:
            terminalreporter.write_line(f"{what}: {took}")


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The working tree as a repository of its own, so that nothing here touches the real one."""
    folder = Folder(tmp_path_factory.mktemp("repository") / "the tëmplate")
    for path in Folder(REPOSITORY).git("ls-files", "-co", "--exclude-standard").splitlines():
        if (REPOSITORY / path).is_file():
            (folder.root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / path, folder.root / path)
    folder.git("init", "-q")
    folder.git("add", "-A")
    folder.git("-c", "user.name=A Person", "-c", "user.email=a@example.org", "commit", "-q", "-m", "As it stands")
    return folder


@pytest.fixture
def before_the_move(repository: Folder, tmp_path: Path) -> Callable[[Path], Folder]:
    """Makes a project of the template as it was before the kit's rooms were cut anew, which then becomes today's.

    Its user has changed the package, its test, the settings and a line of the kit.
    """
    if Folder(REPOSITORY).run("git", "cat-file", "-e", f"{BEFORE_THE_MOVE}^{{commit}}").code:
        pytest.skip(f"not run: this clone is shallow and lacks commit {BEFORE_THE_MOVE[:7]}")

    def make(place: Path) -> Folder:
        template, project = Folder(tmp_path / "the tëmplate of then"), Folder(place)
        Folder(REPOSITORY).git("clone", "-q", "--no-checkout", f"file://{REPOSITORY}", str(template.root))
        template.git("remote", "remove", "origin")  # its address would be the recorded one
        template.git("checkout", "-q", "-b", "then", BEFORE_THE_MOVE)
        template.make("new", "NAME=churn", f"DEST={place}")
        project.edit("src/churn/problem.py", "n_estimators: int = 200", "n_estimators: int = 150")
        project.write("src/churn/more.py", "LEFT = 1\n")
        project.edit("config/base.yaml", "max: 65", "max: 66")
        project.edit(OF_THE_KIT[0], *OF_THE_KIT[1:])
        project.commit("Mine")
        template.git("fetch", "-q", str(repository.root), "HEAD")
        template.git("read-tree", "-u", "--reset", "FETCH_HEAD")  # as the working tree has it, on top of its history
        template.commit("As it stands")
        return project

    return make


@pytest.fixture(autouse=True)
def a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git as one person has it, and nothing of this machine's settings."""
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\nname = A Person\nemail = person@example.org\n[init]\ndefaultBranch = main\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def template(tmp_path: Path) -> Folder:
    """A small template with one commit, in a folder with a space and an umlaut."""
    folder = Folder(tmp_path / "the tëmplate")
    folder.root.mkdir()
    folder.git("init", "-q")
    for path, text in FILES.items():
        folder.write(path, text)
    folder.write("docs/picture.bin", bytes(range(256)) + b"example_project\r\n")
    folder.write("docs/latin.txt", "example_project, caf\xe9\r\n".encode("latin-1"))
    folder.write("tools/run.sh", "#!/bin/sh\n")
    (folder.root / "tools/run.sh").chmod(0o755)
    folder.write("tools/start.bat", b"echo example_project\r\n")
    shutil.copytree(REPOSITORY / MACHINERY, folder.root / MACHINERY, ignore=shutil.ignore_patterns("__pycache__"))
    folder.commit("One")
    return folder


@pytest.fixture
def made(template: Folder, tmp_path: Path) -> Callable[..., Folder]:
    """Makes a project of the template."""

    def make(name: str = "churn", without: str = "", dest: str = "my prøject ü") -> Folder:
        told = template.new(name, tmp_path / dest, without)
        assert told.code == 0, told.said
        return Folder(tmp_path / dest)

    return make


@pytest.fixture
def project(made: Callable[..., Folder]) -> Folder:
    return made()
