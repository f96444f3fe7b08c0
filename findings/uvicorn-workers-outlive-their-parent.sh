#!/usr/bin/env bash
# uvicorn with --workers: where the parent is killed, its workers live on, keep the port and go on answering.
# findings/README.md says why it matters here. Takes about half a minute; listens on 127.0.0.1 only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet uvicorn==0.54.0
cd "$work"

cat >app.py <<'PY'
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here"})
PY

cat >look.py <<'PY'
import os
import re
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version

SECONDS = 8


def answer(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: client.recv(4096), b"")).endswith(b"here")


command = [sys.executable, "-m", "uvicorn", "app:app", "--lifespan", "off", "--workers", "2"]
with open("log", "w") as log:
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"], stdout=log, stderr=log, start_new_session=True
    )
try:
    end, text = time.monotonic() + 60, ""
    while text.count("Started server process") < 2 and time.monotonic() < end:
        time.sleep(0.2)
        with open("log") as log:
            text = log.read()
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)", text).group(1))
    print("uvicorn", version("uvicorn"), "with --workers 2")
    print("Before: the port answers:", answer(port))
    server.kill()
    server.wait()
    time.sleep(SECONDS)
    try:
        after = answer(port)
    except OSError:
        after = False
    print(f"{SECONDS} s after SIGKILL to the parent: the port answers:", after)
    taken = subprocess.run(
        [*command[:-2], "--host", "127.0.0.1", "--port", str(port)], capture_output=True, text=True, timeout=30
    ) if after else None
    said = [line for line in taken.stderr.splitlines() if "rror" in line][-1:] if taken else []
    print("A new server on that port says:", *said)
finally:
    try:
        os.killpg(server.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
if not after:
    sys.exit("CHANGED: uvicorn's workers end with their parent")
print("Why it matters: after the out-of-memory killer took the parent, the old model goes on answering and the service")
print("cannot be started anew. Each of the kit's `serving.workers` watches its parent and ends with it")
print("(docs/decisions/0022-processes.md, `_end_with_parent` in src/starterkit/cli/server.py).")
PY
venv/bin/python look.py
