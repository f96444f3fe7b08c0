"""The dev container, made and entered by the editor's own command line, as a real user who is not root.

VS Code does the same with the same files. Nothing is asserted of seconds: they are printed at the end.
"""

import json
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engine import Docker

CLI = "@devcontainers/cli@0.89.0"
PLUGINS = ".docker/cli-plugins"


@dataclass(frozen=True)
class Editor:
    """The dev container's command line, for one checkout."""

    command: tuple[str, ...]
    environ: dict[str, str]
    root: Path
    user: str
    project: str

    def ask(self, task: str, *words: str, seconds: float = 900) -> subprocess.CompletedProcess[str]:
        command = [*self.command, task, "--workspace-folder", str(self.root), *words]
        return subprocess.run(command, env=self.environ, cwd=self.root, capture_output=True, text=True, timeout=seconds)

    def __call__(self, task: str, *words: str) -> str:
        done = self.ask(task, *words)
        if done.returncode:
            pytest.fail(f"devcontainer {task} failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        return done.stdout.strip()

    def inside(self, script: str) -> str:
        return self("exec", "sh", "-c", script)


@pytest.fixture(scope="module")
def user(docker: Docker) -> Iterator[str]:
    """Somebody who may use Docker. Root would keep its own id in the container, which is not what is to be seen."""
    if os.geteuid():
        yield pwd.getpwuid(os.geteuid()).pw_name
        return
    name = f"kit{docker.token}"
    groups = ["--groups", "docker"] if Path("/etc/group").read_text().count("\ndocker:") else []
    subprocess.run(["useradd", "--create-home", *groups, name], check=True)
    plugins = Path.home() / PLUGINS
    if plugins.is_dir():
        shutil.copytree(plugins, Path("~" + name).expanduser() / PLUGINS)
        subprocess.run(["chown", "-R", f"{name}:", str(Path("~" + name).expanduser())], check=True)
    yield name
    subprocess.run(["userdel", "--remove", name], capture_output=True)


@pytest.fixture(scope="module")
def editor(docker: Docker, user: str, tmp_path_factory: Any, cloned: Callable[..., Path]) -> Iterator[Editor]:
    if shutil.which("npm") is None:
        pytest.fail("not run: npm is not installed, which brings the dev container's command line", pytrace=False)
    home = Path(pwd.getpwnam(user).pw_dir)
    # pytest's own folders are the caller's alone, and every session of it makes them so again.
    tools = tmp_path_factory.mktemp("cli") if os.geteuid() else home / "cli"
    install = ["npm", "install", "--silent", "--prefix", str(tools), CLI]
    installed = subprocess.run(install, capture_output=True, text=True)
    if installed.returncode:
        pytest.fail(f"not run: npm cannot install {CLI}: {installed.stderr.strip()[-300:]}", pytrace=False)
    root = cloned(home / f"my {docker.token}")
    command: tuple[str, ...] = (str(tools / "node_modules" / ".bin" / "devcontainer"),)
    if not os.geteuid():
        entry = pwd.getpwnam(user)
        subprocess.run(["chown", "-R", f"{user}:", str(root), str(tools)], check=True)
        command = ("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups", *command)
    project = docker.name("dev")
    environ = {**os.environ, "HOME": str(home), "USER": user, "COMPOSE_PROJECT_NAME": project}
    made = Editor(command, environ, root, user, project)
    try:
        yield made
    finally:
        composed = (root / "docker-compose.yml", root / ".devcontainer" / "docker-compose.yml")
        files = [word for file in composed for word in ("--file", str(file))]
        docker.ask("compose", "--project-name", project, *files, "down", "--volumes", "--timeout", "2", seconds=300)
        named = (f"{project}*", f"vsc-my{docker.token}*")  # the latter is the image with the user's id
        images = [one for name in named for one in docker("images", "--quiet", "--filter", f"reference={name}").split()]
        docker.ask("rmi", "--force", *images)
        if not os.geteuid():
            shutil.rmtree(root)


def test_workspace_works_with_no_step_by_hand(editor, figures):
    began = time.monotonic()
    editor("build")
    figures["dev container: build"] = f"{time.monotonic() - began:.1f} s"
    began = time.monotonic()
    outcome = json.loads(editor("up").splitlines()[-1])
    figures["dev container: first up, environment made"] = f"{time.monotonic() - began:.1f} s"
    assert outcome["outcome"] == "success"
    assert outcome["remoteUser"] == "vscode"
    assert editor.inside("id --user") == str(pwd.getpwnam(editor.user).pw_uid)
    assert editor.inside("echo $KIT_STAGE $KIT_TRACKING__URI") == "dev http://mlflow:5000"
    assert editor.inside("tools/python -c 'import sys; print(sys.prefix)'") == "/home/vscode/.venv/kit"  # as F5 does
    said = editor.inside("make run 2>&1")
    assert "Champion  dev.diabetes version 1" in said
    found = json.loads(editor.inside("$VENV/bin/starterkit doctor --json 2>/dev/null"))
    assert [one for one in found if one["state"] == "failing"] == []
    assert "version 1 opens" in next(one["text"] for one in found if one["item"] == "champion")


def test_quick_tests_run_inside(editor):
    editor.inside("make lint types contracts")
    said = editor.inside("make unit ARGS='tests/starterkit/settings tests/starterkit/release/gate/test_gate.py' 2>&1")
    assert " passed" in said


def test_files_on_the_host_belong_to_the_user(editor):
    editor.inside("touch written-inside && sudo --non-interactive true")
    uid = pwd.getpwnam(editor.user).pw_uid
    assert (editor.root / "written-inside").stat().st_uid == uid
    assert [path for path in editor.root.rglob("*") if path.lstat().st_uid != uid] == []
    assert not (editor.root / ".venv").exists()


def test_second_up_and_a_rebuild_keep_the_environment(editor, figures):
    stamp = "stat --format %Y $VENV/pyvenv.cfg"
    made = editor.inside(stamp)
    for what, words in (("second up", ()), ("rebuilt", ("--remove-existing-container",))):
        began = time.monotonic()
        editor("up", *words)
        figures[f"dev container: {what}"] = f"{time.monotonic() - began:.1f} s"
        assert editor.inside(stamp) == made
    assert "version 1 opens" in editor.inside("$VENV/bin/starterkit doctor --json 2>/dev/null")
