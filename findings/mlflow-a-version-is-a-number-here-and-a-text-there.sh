#!/usr/bin/env bash
# MLflow: a model version's number is an int from a database and a text from a server, where '9' is the greatest of 11.
# findings/README.md says why it matters here. Takes about two minutes; listens on 127.0.0.1 only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet mlflow==3.17.2
cd "$work"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_LOGGING_LEVEL=ERROR MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false

cat >look.py <<'PY'
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from importlib.metadata import version

from mlflow import MlflowClient

STORE = "sqlite:///store.db"
warnings.simplefilter("ignore")


def newest(address):
    """What `max` takes for the newest version, and whether an alias is an int."""
    client = MlflowClient(address)
    return max(one.version for one in client.search_model_versions("name = 'model'")), type(
        client.get_model_version_by_alias("model", "champion").version
    ).__name__


client = MlflowClient(STORE)
client.create_registered_model("model")
for _ in range(11):
    client.create_model_version("model", "file:///models/one")
client.set_registered_model_alias("model", "champion", 11)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", STORE, "--host", "127.0.0.1", "--workers", "1"]
with open("log", "w") as log:
    server = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log, start_new_session=True)
try:
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
    local, remote = newest(STORE), newest(f"http://127.0.0.1:{port}")
finally:
    os.killpg(server.pid, signal.SIGTERM)
    server.wait()
print("mlflow", version("mlflow"), "and a model with 11 versions in one SQLite database")
print("  asked by sqlite:///: max(version) is", repr(local[0]), "and the champion's version is of type", local[1])
print("  asked by http://:    max(version) is", repr(remote[0]), "and the champion's version is of type", remote[1])
if not (local == (11, "int") and remote == ("9", "str")):
    sys.exit("CHANGED: a version has the same type from both")
print("Why it matters: what was right on a laptop takes version 9 for the newest on the shared server, from the tenth version")
print("on, and `version == 11` is never true there. The kit makes each number an int where it comes in")
print("(src/starterkit/tracking/registry.py).")
PY
venv/bin/python look.py
