"""Backs the compose stack up, and restores it: the databases and the artifacts together.

    python tools/stack.py backup [FOLDER]     a new folder below backups/, or the one that is named
    python tools/stack.py restore FOLDER      into a stack that holds no runs; into a used one with --overwrite

The stack has to be up for a backup; a restore starts what it needs. Docker does the work, so nothing else is needed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

DATABASE, LOG, ARTIFACTS, MANIFEST = "database.dump", "predictions.dump", "artifacts.tar", "manifest.json"
USER = ("--username=mlflow", "--dbname=mlflow")
OF_THE_LOG = ("--username=predictions", "--dbname=predictions")
COUNT = "SELECT count(*) FROM runs"
EMPTY = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"


class Cannot(Exception):
    """What cannot be done; the message is one line and says what to do."""


def backup(folder: Path) -> None:
    """The database first: what it names is in the artifacts that are copied after it."""
    if folder.exists():
        raise Cannot(f"{folder} is there already: name another folder")
    require("postgres", "mlflow")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        into(partial / DATABASE, "exec", "-T", "postgres", "pg_dump", "--format=custom", *USER)
        into(partial / LOG, "exec", "-T", "postgres", "pg_dump", "--format=custom", *OF_THE_LOG)
        elsewhere = ask("exec", "-T", "mlflow", "printenv", "ARTIFACTS") != "/artifacts"
        if elsewhere:
            say("the artifacts are not in this stack: the backup holds the databases alone")
        else:
            into(partial / ARTIFACTS, "exec", "-T", "mlflow", "tar", "-C", "/artifacts", "-cf", "-", ".")
        files = {file.name: digest(file) for file in sorted(partial.iterdir())}
        mlflow = ask(
            "exec", "-T", "mlflow", "python", "-c", "from importlib.metadata import version as v; print(v('mlflow'))"
        )
        manifest = {"mlflow": mlflow, "made": f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}", "files": files}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    say(f"{folder} holds {', '.join(files)}: {size:.1f} MB")


def restore(folder: Path, overwrite: bool) -> None:
    """Everything is checked before anything is changed."""
    try:
        files = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        raise Cannot(f"{folder} is no backup: name a folder that `make backup` made, with FROM=…") from None
    if altered := [name for name, kept in files.items() if digest(folder / name) != kept]:
        raise Cannot(f"{altered[0]} in {folder} is not what was backed up: take another backup")
    docker("up", "--detach", "--wait", "postgres")
    tables = ask("exec", "-T", "postgres", "psql", *USER, "-tAc", "SELECT to_regclass('runs') IS NOT NULL")
    runs = int(ask("exec", "-T", "postgres", "psql", *USER, "-tAc", COUNT)) if tables == "t" else 0
    if runs and not overwrite:
        raise Cannot(
            f"this stack holds {runs} runs: add ARGS=--overwrite to replace them, or restore into an empty one"
        )
    docker("stop", "mlflow")  # nobody may write while its tables are exchanged
    docker("exec", "-T", "postgres", "psql", *USER, "--quiet", "-c", EMPTY)
    out_of(folder / DATABASE, "exec", "-T", "postgres", "pg_restore", "--no-owner", "--exit-on-error", *USER)
    if LOG in files:
        refill = ("--clean", "--if-exists", "--no-owner", "--single-transaction")
        out_of(folder / LOG, "exec", "-T", "postgres", "pg_restore", *refill, *OF_THE_LOG)
    if ARTIFACTS in files:
        shell = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "mlflow", "-c")
        out_of(folder / ARTIFACTS, *shell, "find /artifacts -mindepth 1 -delete && tar -C /artifacts -xf -")
    docker("up", "--detach", "--wait", "mlflow")
    say(f"restored {', '.join(files)} from {folder}")


def require(*services: str) -> None:
    running = ask("ps", "--services", "--status", "running").split()
    if missing := [name for name in services if name not in running]:
        raise Cannot(f"the service {missing[0]} is not running: `docker compose up -d --wait`, then again")


def docker(*words: str, **streams: object) -> None:
    done = subprocess.run(["docker", "compose", *words], stderr=subprocess.PIPE, **streams)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise Cannot(f"docker compose {words[0]} failed: {said[-1]}")


def ask(*words: str) -> str:
    done = subprocess.run(["docker", "compose", *words], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Cannot(f"docker compose {words[0]} failed: {said[-1]}")
    return done.stdout.strip()


def into(file: Path, *words: str) -> None:
    with file.open("wb") as stream:
        docker(*words, stdout=stream)


def out_of(file: Path, *words: str) -> None:
    with file.open("rb") as stream:
        docker(*words, stdin=stream)


def digest(file: Path) -> str:
    if not file.exists():
        return "not there"
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def say(text: str) -> None:
    print(f"stack: {text}", file=sys.stderr, flush=True)


def main(task: str = "", *words: str) -> None:
    named = [Path(word) for word in words if not word.startswith("--")]
    if task == "backup":
        backup(named[0] if named else Path("backups", f"{datetime.now():%Y-%m-%d_%H-%M-%S}"))
    elif task == "restore" and named:
        restore(named[0], "--overwrite" in words)
    else:
        raise Cannot("say backup, or restore with a folder: make restore FROM=backups/…")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Cannot as error:
        say(str(error))
        sys.exit(1)
    except FileNotFoundError:
        say("docker is not there: install Docker with its compose plugin")
        sys.exit(1)
    except OSError as error:
        say(f"{error.strerror}: {error.filename}; nothing was changed")
        sys.exit(1)
    except KeyboardInterrupt:
        say("stopped; give the same command again")
        sys.exit(130)
