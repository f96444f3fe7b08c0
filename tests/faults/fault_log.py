"""`kill -9` of an API under load, again and again: what it acknowledged is in its log, in SQLite, each time."""

import json
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException

KILLS = 50
CLIENTS = 8


RECORD = {
    "age": 51, "sex": 1, "bmi": 26.0, "blood_pressure": 93.0, "total_cholesterol": 186.0, "ldl": 110.0, "hdl": 48.0,
    "cholesterol_ratio": 4.0, "log_triglycerides": 4.6347, "glucose": 91.0,
}  # fmt: skip


def test_nothing_that_was_acknowledged_is_lost(scratch):
    database, body = scratch.root / "state" / "local" / "predictions.db", json.dumps({"records": [RECORD]})
    chance, acknowledged = random.Random(0), set()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "starterkit", "serve", "--port", str(port)]
    for _ in range(KILLS):
        api = subprocess.Popen(command, cwd=scratch.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        clients = [threading.Thread(target=ask, args=(port, body, api, acknowledged)) for _ in range(CLIENTS)]
        before = len(acknowledged)
        for one in clients:
            one.start()
        while len(acknowledged) == before and api.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.random() / 2)
        api.send_signal(signal.SIGKILL)
        api.wait()
        for one in clients:
            one.join()
        assert len(acknowledged) > before
    with sqlite3.connect(database) as log:
        kept = {one.hex() for (one,) in log.execute("SELECT id FROM prediction")}
    print(f"{KILLS} kills: {len(acknowledged)} acknowledged, {len(kept)} kept, {len(acknowledged - kept)} lost")
    assert acknowledged <= kept


def ask(port: int, body: str, api: "subprocess.Popen[bytes]", acknowledged: set[str]) -> None:
    while api.poll() is None:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            while True:
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    acknowledged.add(answer.headers["x-prediction-id"])
        except (OSError, HTTPException):
            time.sleep(0.02)
        finally:
            connection.close()
