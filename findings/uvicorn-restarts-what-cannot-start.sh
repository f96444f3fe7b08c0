#!/usr/bin/env bash
# uvicorn with --workers: an app that cannot be made is started again without end, one whose lifespan fails is not.
# findings/README.md says why it matters here. Takes about half a minute; listens on 127.0.0.1 only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet uvicorn==0.54.0
cd "$work"

cat >app.py <<'PY'
def refused():
    """A factory that says by its exit code that the configuration is wrong."""
    raise SystemExit(2)


async def not_ready(scope, receive, send):
    """An app that says the same by way of the lifespan protocol."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no model"})
PY

cat >look.py <<'PY'
import os
import signal
import subprocess
import sys
from importlib.metadata import version

SECONDS = 6


def run(*app):
    """Its log, and whether it ended by itself."""
    command = [sys.executable, "-m", "uvicorn", *app, "--workers", "2", "--host", "127.0.0.1", "--port", "0"]
    with open("log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        server.wait(SECONDS)
        ended = True
    except subprocess.TimeoutExpired:
        ended = False
    finally:
        try:
            os.killpg(server.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        server.wait()
    with open("log") as log:
        return log.read(), ended


print("uvicorn", version("uvicorn"), "with --workers 2")
log, ended = run("app:not_ready")
print("lifespan.startup.failed:  the parent", "ends" if ended else "goes on", "and says:")
print("   ", next((line for line in log.splitlines() if "failed to start" in line), "nothing"))
stops = ended and "failed to start" in log

log, ended = run("--factory", "app:refused")
again = log.count("] died")
print(f"SystemExit(2) by factory: the parent {'ends' if ended else 'goes on'}; in {SECONDS} s it replaced {again} workers")
if not stops or ended or again < 3:
    sys.exit("CHANGED: uvicorn no longer tells the two apart in this way")
print("Why it matters: a wrong setting fails the same way each time. Under a service manager the unit stays 'running',")
print("its log fills, and nobody answers. The kit's `serving.workers` has a parent of its own: what is refused at the")
print("first start ends the command with its exit code (docs/decisions/0022-processes.md).")
PY
venv/bin/python look.py
