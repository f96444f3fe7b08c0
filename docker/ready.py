"""Ends with 0 if the API in this container is ready: what its HEALTHCHECK runs, every few seconds.

The standard library alone, and no proxy between.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

try:
    api = HTTPConnection("127.0.0.1", int(os.environ["KIT_SERVING__PORT"]), timeout=4)
    api.request("GET", "/health/ready")
    status = api.getresponse().status
except (OSError, HTTPException) as error:
    sys.exit(f"the API does not answer: {error}")
if status != 200:
    sys.exit(f"the API answers and is not ready: {status}")
