#!/usr/bin/env bash
# ONNX Runtime: Ctrl-C while it is imported comes out as an ImportError, which a program takes for a broken installation.
# findings/README.md says why it matters here. Takes half a minute; needs no network beyond the packages.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet onnxruntime==1.32.0
cd "$work"

cat >look.py <<'PY'
import collections
import subprocess
import sys
from importlib.metadata import version

TRIES = 40
IMPORT = """
import signal, sys, time
import numpy
started = time.perf_counter()
signal.signal(signal.SIGALRM, signal.default_int_handler)
if sys.argv[1] != "0":
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
try:
    import onnxruntime
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("imported", time.perf_counter() - started)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
except ImportError as error:
    print("ImportError:", error, "<-", type(error.__cause__).__name__)
"""


def come(after):
    ran = subprocess.run([sys.executable, "-c", IMPORT, str(after)], capture_output=True, text=True)
    return ran.stdout.strip()


come(0)
whole = float(come(0).split()[1])
came = collections.Counter(come(whole * (n + 1) / TRIES).split(" 0.")[0] for n in range(TRIES))
print(f"onnxruntime {version('onnxruntime')}, interrupted at {TRIES} moments of its import:")
for what, times in came.most_common():
    print(f"  {times:3d}  {what}")
if not came["ImportError: initialization failed <- KeyboardInterrupt"]:
    sys.exit("CHANGED: no interruption came out as an ImportError")
PY
"$work/venv/bin/python" look.py
