"""Makes the virtual environment follow a lock; a call that finds nothing to do takes 30 ms.

    python tools/environment.py VENV [test]

The Makefile calls this with any Python of the machine. So it needs the standard library alone, and
older Pythons must be able to read it, if only to be told that they are too old.
"""

import hashlib
import os
import sys
from pathlib import Path

SUPPORTED = ((3, 11), (3, 12), (3, 13))
OLDEST_UV = (0, 9)  # its build backend is the one that pyproject.toml asks for
# uv alone and no environment around it: an editor that looks for one in the project must find VENV and no other.
BOOTSTRAP, BOOTSTRAP_LOCK = Path(".cache/uv"), "requirements-uv.txt"
LEAST_FREE = 100_000_000  # below, a failure is the disk's
LOCK, TEST_LOCK = "requirements.txt", "requirements-test.txt"
STAMP = "kit-environment"  # in the environment: what it was made from


class CannotMake(Exception):
    """The environment cannot be made; the message is one line and says what to do."""


def make(venv: Path, with_tests: bool) -> None:
    """Bring `venv` to what the lock says, and to nothing else.

    An environment that has the test tools keeps them, so that running after testing installs
    nothing. It is made anew when the folder moved or another Python is asked for.
    """
    check_python()
    if is_current(venv, with_tests):
        return
    with OneAtATime():
        if not is_current(venv, with_tests):  # another call may just have made it
            install(venv, find_uv(), with_tests)


def check_python() -> None:
    if sys.version_info[:2] not in SUPPORTED:
        found = "Python {}.{} found".format(*sys.version_info[:2])
        raise CannotMake(f"{found}; the kit needs 3.11, 3.12 or 3.13: add PYTHON=python3.12 to the make command")


def is_current(venv: Path, with_tests: bool) -> bool:
    stamp = read(venv / STAMP)
    return stamp == fingerprint(lock_for(stamp, with_tests)) and os.access(python_of(venv), os.X_OK)


def lock_for(stamp: str, with_tests: bool) -> str:
    return TEST_LOCK if with_tests or stamp.startswith(TEST_LOCK) else LOCK


def fingerprint(lock: str) -> str:
    """What an environment depends on, as the lines of its stamp."""
    origin = "{}\n{}.{}\n{}\n".format(lock, *sys.version_info[:2], Path.cwd())
    return origin + "".join(f"{digest(name)} {name}\n" for name in (lock, "pyproject.toml"))


def install(venv: Path, uv: Path, with_tests: bool) -> None:
    stamp_path = venv / STAMP
    stamp = read(stamp_path)
    lock = lock_for(stamp, with_tests)
    require_writable(Path.cwd(), venv)
    same_origin = stamp.splitlines()[1:3] == fingerprint(lock).splitlines()[1:3]
    if not (same_origin and os.access(python_of(venv), os.X_OK)):
        create(venv, uv)
        stamp = ""
    write(stamp_path, lock)  # a later call that finds no more than this starts afresh
    say(f"installing {lock} into {venv}")
    target = ("--python", str(python_of(venv)))
    try:
        # `sync` also removes what the lock no longer has, the project among it: hence two steps.
        call(uv, "pip", "sync", *target, "--require-hashes", "--compile-bytecode", lock)
    except CannotMake:  # no network, say: nothing was touched, so what was there still holds
        write(stamp_path, stamp)
        raise
    call(uv, "pip", "install", "--quiet", *target, "--no-deps", "--editable", ".")  # where it fails, the kit is missing
    write(stamp_path, fingerprint(lock))


def create(venv: Path, uv: Path) -> None:
    if venv.is_dir() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
        raise CannotMake(f"{venv} is no virtual environment: name another folder with VENV=…")
    say("making {} with Python {}.{}.{}".format(venv, *sys.version_info[:3]))
    base = getattr(sys, "_base_executable", sys.executable)  # this may be the one to be removed
    call(uv, "venv", "--quiet", "--clear", "--python", base, str(venv))


def find_uv() -> Path:
    """The uv on the path, else the project's own, fetched when it is not there."""
    import shutil

    found = shutil.which("uv")
    if found and uv_version(Path(found)) >= OLDEST_UV:
        return Path(found)
    uv, stamp = BOOTSTRAP / "bin" / "uv", BOOTSTRAP / STAMP
    if read(stamp) != digest(BOOTSTRAP_LOCK) or uv_version(uv) < OLDEST_UV:
        fetch_uv()
        write(stamp, digest(BOOTSTRAP_LOCK))
    return uv


def uv_version(uv: Path) -> tuple:  # tuple[int, int] is too new for the Pythons to be refused
    import re
    import subprocess

    try:
        answer = subprocess.run([str(uv), "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return (0, 0)  # not there, or made for another machine
    found = re.match(r"uv (\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def fetch_uv() -> None:
    import shutil
    import subprocess
    import tempfile

    try:
        import ensurepip  # noqa: F401  Debian and Ubuntu leave it out
        import venv
    except ImportError:
        raise CannotMake(
            "Python {0}.{1} lacks its venv module: install it (Debian, Ubuntu: apt-get install "
            "python{0}.{1}-venv) or uv, then again".format(*sys.version_info[:2])
        ) from None
    say(f"fetching uv into {BOOTSTRAP}")
    shutil.rmtree(BOOTSTRAP, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [str(python_of(Path(folder))), "-m", "pip", "--disable-pip-version-check"]
        options = ["--quiet", "--retries", "1", "--only-binary", ":all:", "--require-hashes"]
        command = [*pip, "install", *options, "--target", str(BOOTSTRAP), "-r", BOOTSTRAP_LOCK]
        answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        require_space(Path.cwd())
        reasons = [line for line in answer.stderr.splitlines() if line.startswith("ERROR")]
        raise CannotMake(
            "pip could not fetch uv ({}): check the network and pip's index, or install uv".format(
                reasons[-1] if reasons else f"exit code {answer.returncode}"
            )
        )


def call(uv: Path, *arguments: str) -> None:
    import subprocess

    answer = subprocess.run([str(uv), *arguments], env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"})
    if answer.returncode:
        require_space(Path.cwd(), Path.home())
        raise CannotMake(
            "uv could not finish, for the reason above: mend it (no network? set UV_DEFAULT_INDEX "
            "for a mirror) and give the same command again"
        )


def require_writable(*folders: Path) -> None:
    for folder in folders:
        if folder.exists() and not os.access(folder, os.W_OK):
            raise CannotMake(
                f"{folder} belongs to user {folder.stat().st_uid} and cannot be written: work as that user, "
                "or name a folder of your own with VENV=…"
            )


def require_space(*folders: Path) -> None:
    """Tell a full disk from a network that fails: the project's, the scratch folder's, and the one of uv's cache."""
    import shutil
    import tempfile

    for folder in (*folders, Path(tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free
        if free < LEAST_FREE:
            raise CannotMake(
                f"the disk of {folder} is full, {free / 1e6:.0f} MB are free: an environment takes about 1 GB; "
                "free that much and give the same command again"
            )


class OneAtATime:
    """Holds the project: an editor and a terminal may both want the environment at once."""

    def __enter__(self) -> None:
        import fcntl

        self.file = Path(__file__).open()
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another command that is making the environment")
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self.file.close()


def python_of(venv: Path) -> Path:
    return venv / "bin" / "python"


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""


def write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def say(text: str) -> None:
    print(f"environment: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        make(Path(sys.argv[1]), with_tests=sys.argv[2:] == ["test"])
    except CannotMake as error:
        say(str(error))
        sys.exit(1)
    except OSError as error:  # a full disk, a folder that belongs to somebody else
        say(f"{error.strerror}: {error.filename or sys.argv[1]}; mend it and give the same command again")
        sys.exit(1)
    except KeyboardInterrupt:
        say("stopped; the same command goes on from here")
        sys.exit(130)
