#!/usr/bin/env bash
# uvloop: of clients who connect at once to a server that is busy, one is let in with each turn of the event loop.
# findings/README.md says why it matters here. Takes a few seconds; listens on 127.0.0.1 only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet uvloop==0.23.0
cd "$work"

cat >look.py <<'PY'
import asyncio
import socket
import threading
import time
from importlib.metadata import version

import uvloop

CLIENTS = 16


class Answer(asyncio.Protocol):
    """Works for two milliseconds on each request, and remembers who was answered."""

    answered = []

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        time.sleep(0.002)
        Answer.answered.append(data)
        self.transport.write(b"!")


def ask(address, name, stop, go):
    with socket.create_connection(address) as one:
        go.wait()
        while not stop.is_set():
            one.sendall(name)
            if not one.recv(1):
                return


async def look():
    """How many requests were answered until each client had its first answer."""
    Answer.answered = []
    stop, go = threading.Event(), threading.Event()
    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    asked = [threading.Thread(target=ask, args=(address, bytes([n]), stop, go)) for n in range(CLIENTS)]
    for one in asked:
        one.start()
    time.sleep(0.3)  # the loop stands still: the kernel has all connections ready
    go.set()
    await asyncio.sleep(2)
    stop.set()
    await asyncio.sleep(0.2)
    server.close()
    return max(Answer.answered.index(bytes([n])) for n in range(CLIENTS)) + 1


asyncios, uvloops = asyncio.run(look()), uvloop.run(look())
print(f"uvloop {version('uvloop')}, {CLIENTS} clients who are all connected before the server takes the first:")
print(f"  asyncio's loop had answered {asyncios} requests when each client had its first answer")
print(f"  uvloop had answered {uvloops}")
assert asyncios < 3 * CLIENTS < uvloops
PY
MALLOC_ARENA_MAX=1 "$work/venv/bin/python" look.py
