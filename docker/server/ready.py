"""Ends with 0 if clients can use the MLflow server in this container: what its health check runs.

It makes a real call under the name that clients use. MLflow's own /health answers well while every client is refused.
"""

import os
import sys
from base64 import b64encode
from http.client import HTTPConnection, HTTPException
from pathlib import Path

headers = {"Host": "mlflow:5000", "Content-Type": "application/json"}
if os.environ.get("AUTH") == "on":
    user = f"admin:{Path('/run/stack/admin').read_text()}"
    headers["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
try:
    server = HTTPConnection("127.0.0.1", 5000, timeout=8)
    server.request("POST", "/api/2.0/mlflow/experiments/search", '{"max_results": 1}', headers)
    answer = server.getresponse()
    status, said = answer.status, answer.read(200).decode("utf-8", "replace")
except (OSError, HTTPException) as error:
    sys.exit(f"starterkit: MLflow does not answer yet: {error}")
if status != 200:
    sys.exit(f"starterkit: MLflow refuses a client that calls it mlflow:5000: {status} {said}")
