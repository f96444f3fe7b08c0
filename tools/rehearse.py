"""Takes the last commit through all five stages and back, as the promotion workflow does: `make rehearse`.

dev, test and staging have an MLflow server of their own, on SQLite; prod has another, the compose stack with
PostgreSQL. On the way a worse model is refused, twice, and at the end prod goes back to its first version. All is on
this machine and under names of its own, and is removed at the end; `--keep` keeps the folder with its transcript.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

REPOSITORY = Path(__file__).parents[1]
WORSE = json.dumps({"n_estimators": 2, "learning_rate": 0.03})
BETTER = json.dumps({"n_estimators": 205, "learning_rate": 0.03, "max_depth": 2, "subsample": 0.5})


class Unexpected(Exception):
    """A step came out otherwise than it has to."""


@dataclass
class Rehearsal:
    """One commit in a clone, and what is said to each of its stages."""

    clone: Path
    environs: dict[str, dict[str, str]]
    told: list[str] = field(default_factory=list)

    def __call__(
        self, title: str, stage: str, *words: str, refused: str = "", more: Mapping[str, str] | None = None
    ) -> str:
        """Give a command in a stage. `refused` is what it has to say when it has to fail."""
        self._tell(f"\n=== {title}\n$ KIT_STAGE={stage} {' '.join(words)}")
        python = {"starterkit": ("-m", "starterkit")}.get(words[0], (words[0],))
        given = {name: value for name, value in os.environ.items() if not name.startswith("KIT_")}
        given |= {"KIT_STAGE": stage, "PYTHONPATH": str(self.clone / "src"), "COLUMNS": "110", "NO_COLOR": "1"}
        given |= {"PYTHON": sys.executable, **self.environs[stage], **(more or {})}
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, *python, *words[1:]], cwd=self.clone, env=given, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False,
        )  # fmt: skip
        self._tell("".join(f"  {line}\n" for line in done.stdout.splitlines()).rstrip("\n"))
        self._tell(f"  exit code {done.returncode}, {time.monotonic() - began:.1f} s")
        if bool(refused) != bool(done.returncode):
            raise Unexpected(f"'{title}' has to be {'refused' if refused else 'done'}, and was not")
        if refused not in done.stdout:
            raise Unexpected(f"'{title}' does not say '{refused}'")
        return done.stdout

    def trust(self, key: str) -> None:
        """Let prod take what this public key has signed: by a commit, as prod asks."""
        with (self.clone / "config" / "prod.yaml").open("a", encoding="utf-8") as settings:
            settings.write(f"\npromotion:\n  trusted_keys: [{key}]\n")
        who = ["-c", "user.name=Rehearsal", "-c", "user.email=rehearsal@localhost", "-c", "commit.gpgsign=false"]
        git = ["git", "-C", str(self.clone), *who]
        subprocess.run([*git, "commit", "-qam", "Prod trusts staging's key"], check=True, timeout=60)

    def champion(self, stage: str) -> int:
        """The number of a stage's champion, as `starterkit history` has it."""
        said = self(f"who is champion in {stage}", stage, "starterkit", "lineage", "--json")
        return int(json.loads(said[said.index("{") :])["version"])

    def expect(self, what: str, *, is_so: bool) -> None:
        self._tell(f"  {'as it has to be' if is_so else 'WRONG'}: {what}")
        if not is_so:
            raise Unexpected(what)

    def _tell(self, text: str) -> None:
        self.told.append(text)
        print(text, flush=True)


def rehearse(rehearsal: Rehearsal) -> None:
    """The whole way. What a stage does is in promote_stage.py, which the workflow calls, too."""
    do, step = rehearsal, ("tools/promote_stage.py",)
    made = do("staging: the key that signs bundles", "staging", "starterkit", "keys", "--json")
    rehearsal.trust(json.loads(made[made.index("{") :])["public"])
    do("local: the commit trains, exports and passes the gate", "local", *step, "local")
    do("dev: the same, with what is sensitive in bands", "dev", *step, "dev")
    do("test: unmasked data is refused", "test", "starterkit", "run", refused="starterkit data prepare --for test")
    do("test: the data is masked, with a proof; the pipeline; load", "test", *step, "test")
    do("staging: a part of production's data", "local", "starterkit", "data", "prepare", "--for", "staging",
       "--fraction", "0.9")  # fmt: skip
    subset = {"KIT_DATA__SOURCE": "data/staging/diabetes.parquet"}
    do("staging: train, gate, sign", "staging", *step, "staging", more=subset)
    do("prod: nobody approved", "prod", "starterkit", "promote", "--to", "prod", "--from", "bundle.zip",
       refused="--approver")  # fmt: skip
    do("prod: approved, gated again, live", "prod", *step, "prod", more={"KIT_APPROVER": "Ada Lovelace"})
    rehearsal.expect("prod serves version 1", is_so=rehearsal.champion("prod") == 1)

    do("staging: a worse model is refused at the gate", "staging", *step, "staging",
       refused="refused", more={**subset, "KIT_TRAINING__PARAMS": WORSE})  # fmt: skip
    rehearsal.expect("staging still serves version 1", is_so=rehearsal.champion("staging") == 1)
    altered(rehearsal.clone / "bundle.zip", rehearsal.clone / "altered.zip")
    do("prod: a bundle that somebody altered", "prod", "starterkit", "promote", "--to", "prod", "--from", "altered.zip",
       "--approver", "Ada Lovelace", refused="somebody may have altered it")  # fmt: skip
    rehearsal.expect("prod still serves version 1", is_so=rehearsal.champion("prod") == 1)

    do("staging: another model, as good", "staging", *step, "staging", more={**subset, "KIT_TRAINING__PARAMS": BETTER})
    do("prod: the second version", "prod", *step, "prod", more={"KIT_APPROVER": "Ada Lovelace"})
    rehearsal.expect("prod serves version 2", is_so=rehearsal.champion("prod") == 2)
    do("prod: back to the first", "prod", "starterkit", "rollback", "--to", "1", "--reason", "rehearsed",
       "--approver", "Grace Hopper")  # fmt: skip
    rehearsal.expect("prod serves version 1", is_so=rehearsal.champion("prod") == 1)
    do("prod: what is written down", "prod", "starterkit", "history")


def environs(lower: str, upper: str) -> dict[str, dict[str, str]]:
    """What each stage is told by its environment: where MLflow is, and a key for its API."""
    key = secrets.token_hex(16)
    told = {stage: {"KIT_TRACKING__URI": lower, "KIT_SERVING__API_KEY": key} for stage in ("dev", "test", "staging")}
    return {"local": {}, **told, "prod": {"KIT_TRACKING__URI": upper, "KIT_SERVING__API_KEY": key}}


def altered(bundle: Path, into: Path) -> None:
    """The same file with one byte of its middle changed."""
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    into.write_bytes(content)


@contextmanager
def cloned(folder: Path) -> Iterator[Path]:
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", "--local", str(REPOSITORY), str(clone)], check=True)
    yield clone


@contextmanager
def sqlite_server(folder: Path) -> Iterator[str]:
    """MLflow on this machine, ended with the rehearsal."""
    port, folder = free_port(), folder / "server"
    folder.mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/server.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environ, cwd=folder, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(address, server)
        yield address
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


@contextmanager
def postgres_server(clone: Path) -> Iterator[str]:
    """The compose stack, under a name and on a port of its own."""
    port = free_port()
    name = f"rehearsal-{secrets.token_hex(3)}"
    environ = {**os.environ, "COMPOSE_PROJECT_NAME": name, "MLFLOW_PORT": str(port)}

    def compose(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "compose", *words], cwd=clone, env=environ, capture_output=True, text=True, check=False
        )

    try:
        done = compose("up", "--detach", "--wait")
        if done.returncode:
            raise Unexpected(f"the stack did not come up: {done.stderr.strip().splitlines()[-1]}")
        yield f"http://localhost:{port}"
    finally:
        compose("down", "--volumes", "--rmi", "local", "--timeout", "5")


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        if server.poll() is not None:
            break
        try:
            urlopen(f"{address}/version", timeout=2).close()  # its own, on loopback
            return
        except (URLError, OSError):
            time.sleep(0.25)
    raise Unexpected(f"the MLflow server at {address} did not answer within a minute")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the folder, with the transcript")
    keep = parser.parse_args(words).keep
    if shutil.which("docker") is None:
        print("rehearsal: not run: prod's server needs Docker, which is not installed here", file=sys.stderr)
        return 1
    folder, began = Path(tempfile.mkdtemp(prefix="rehearsal-")), time.monotonic()
    try:
        with ExitStack() as opened:
            clone = opened.enter_context(cloned(folder))
            print("starting two MLflow servers", flush=True)
            lower = opened.enter_context(sqlite_server(folder))
            upper = opened.enter_context(postgres_server(clone))
            rehearsal = Rehearsal(clone, environs(lower, upper))
            rehearse(rehearsal)
        print(f"\nrehearsed in {time.monotonic() - began:.0f} s: every step came out as it has to")
        return 0
    except Unexpected as error:
        print(f"\nrehearsal: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nrehearsal: stopped; its servers are ended", file=sys.stderr)
        return 130
    finally:
        if keep:
            print(f"kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
