"""`starterkit ui`: how it ends, and where it cannot start."""

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest


@pytest.mark.parametrize("command", ["ui", "serve"])
def test_a_taken_port_is_told_with_what_names_another(run, unchanged, port, command):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        done = run(unchanged, command, "--port", str(port))
    assert done.returncode == 2
    what, hint = done.stderr.splitlines()[-2:]
    assert what == f"error: 127.0.0.1 port {port} cannot be had: Address already in use."
    assert ("KIT_SERVING__PORT" if command == "serve" else "--port") in hint
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("died", [False, True], ids=["Ctrl-C", "died"])
def test_its_end_is_told_only_where_nobody_asked_for_it(repository, port, died):
    command, pipe = [sys.executable, "-m", "starterkit", "ui", "--port", str(port)], subprocess.PIPE
    environ = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=repository, stdout=pipe, stderr=pipe, text=True, env=environ) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("MLflow's UI: ")
        if died:
            psutil.Process(running.pid).children()[0].kill()
        else:
            running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)
    assert running.returncode == (1 if died else 0)
    assert ("error: MLflow's UI ended by itself." in told) == died
    assert "Stopped" not in told
    for _ in range(100):  # its worker ends, too
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    pytest.fail(f"somebody still answers on port {port}")
