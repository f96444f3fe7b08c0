"""The part of an editor that speaks the Debug Adapter Protocol, with debugpy's adapter on the other side.

https://microsoft.github.io/debug-adapter-protocol/specification
"""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import Queue
from threading import Lock, Thread
from typing import Any, BinaryIO

import debugpy
from terminal import Terminal

SECONDS = 240
_SECONDS_TO_LEAVE = 10
Json = dict[str, Any]
OpenTerminal = Callable[[Sequence[str], str, Mapping[str, str | None]], Terminal]


@dataclass(frozen=True)
class Breakpoint:
    """A line, named by the words with which it begins."""

    path: Path
    words: str

    @property
    def line(self) -> int:
        lines = self.path.read_text("utf-8").splitlines()
        (number,) = [number for number, line in enumerate(lines, 1) if line.strip().startswith(self.words)]
        return number


class Connection:
    """Messages over two streams. What the other side sends by itself goes to `hear`, which may not wait."""

    def __init__(self, reading: BinaryIO, writing: BinaryIO, hear: Callable[["Connection", Json], None]) -> None:
        self._reading, self._writing, self._hear = reading, writing, hear
        self._numbers, self._writes = count(1), Lock()
        self._waiting: dict[int, Future[Json]] = {}
        Thread(target=self._read, daemon=True).start()

    def ask(self, command: str, arguments: Json | None = None) -> Future[Json]:
        answer: Future[Json] = Future()
        with self._writes:
            number = next(self._numbers)
            self._waiting[number] = answer
            self._write({"seq": number, "type": "request", "command": command, "arguments": arguments or {}})
        return answer

    def answer(self, request: Json, body: Json) -> None:
        with self._writes:
            words = {"type": "response", "command": request["command"], "request_seq": request["seq"]}
            self._write({"seq": next(self._numbers), **words, "success": True, "body": body})

    def _write(self, message: Json) -> None:
        content = json.dumps(message).encode()
        with suppress(OSError):  # the adapter is gone, and so is whoever waits for its answers
            self._writing.write(b"Content-Length: %d\r\n\r\n%s" % (len(content), content))
            self._writing.flush()

    def _read(self) -> None:
        with suppress(OSError, ValueError):  # closed in the middle of a line
            while header := self._reading.readline():
                self._reading.readline()
                message = json.loads(self._reading.read(int(header.partition(b":")[2])))
                if message["type"] != "response":
                    self._hear(self, message)
                elif message["success"]:
                    self._waiting.pop(message["request_seq"]).set_result(message.get("body", {}))
                else:
                    failure = AssertionError(f"{message['command']}: {message['message']}")
                    self._waiting.pop(message["request_seq"]).set_exception(failure)
        for answer in [*self._waiting.values()]:
            answer.set_exception(EOFError("the adapter is gone"))


class Stopped(AssertionError):
    """At an exception that nobody catches, where a person is stopped too."""


class Debugger:
    """One configuration of launch.json, its variables replaced, from F5 to its end, with the processes it starts."""

    def __init__(self, configuration: Json, breakpoints: Sequence[Breakpoint], open_terminal: OpenTerminal) -> None:
        self.terminal: Terminal | None = None
        self.printed = ""  # in the debug console
        self._exit: Future[int] = Future()
        self._started: Future[Json] = Future()  # answered when the breakpoints are set
        self._stops: Queue[tuple[Connection, Json] | int | BaseException] = Queue()
        self._breakpoints, self._open_terminal = list(breakpoints), open_terminal
        self._connections: list[Connection] = []
        self._adapter: subprocess.Popen[bytes] | None = None
        if "connect" in configuration:
            self._main = self._connected(configuration["connect"])
        else:
            # The editor brings its own debugpy, and starts it with the interpreter that is chosen.
            command = [configuration["debugAdapterPython"], str(Path(debugpy.__file__).with_name("adapter"))]
            adapter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert adapter.stdin
            assert adapter.stdout
            self._adapter, self._main = adapter, Connection(adapter.stdout, adapter.stdin, self._hear)
        self._begin(self._main, configuration)

    def locals_at_stop(self) -> dict[str, str]:
        """Wait for a breakpoint, read the local variables there, take all breakpoints away and go on."""
        stop = self._stops.get(timeout=SECONDS)
        if isinstance(stop, Stopped):
            raise stop
        assert isinstance(stop, tuple), f"no breakpoint was hit, and it ended with {stop}\n{self.text}"
        connection, event = stop
        thread = {"threadId": event["threadId"]}
        frame = connection.ask("stackTrace", thread | {"levels": 1}).result(SECONDS)["stackFrames"][0]
        scopes = connection.ask("scopes", {"frameId": frame["id"]}).result(SECONDS)["scopes"]
        found = self._variables(connection, scopes[0])
        where, self._breakpoints = self._breakpoints, []
        for one in self._connections:
            for breakpoint_ in where:
                one.ask("setBreakpoints", {"source": {"path": str(breakpoint_.path)}, "breakpoints": []})
        connection.ask("continue", thread)
        return found

    def wait_for_start(self) -> None:
        self._started.result(SECONDS)

    def exit_code(self) -> int:
        return self._exit.result(SECONDS)

    @property
    def running(self) -> bool:
        return not self._exit.done()

    @property
    def text(self) -> str:
        return self.printed + (self.terminal.text if self.terminal else "")

    def stop(self, terminate: bool = True) -> None:
        """The red square; or, where the program was there before, the plug that leaves it running."""
        if terminate:
            self._main.ask("terminate").exception(SECONDS)
        for one in reversed(self._connections):  # those of processes that the program started come first
            one.ask("disconnect", {"terminateDebuggee": terminate}).exception(_SECONDS_TO_LEAVE)
        self.close()

    def close(self) -> None:
        if self._adapter and self._adapter.poll() is None:
            self._adapter.kill()
            self._adapter.wait()

    def _connected(self, place: Json) -> Connection:
        end = time.monotonic() + SECONDS
        while True:
            try:
                stream = socket.create_connection((place["host"], place["port"]))
            except ConnectionRefusedError:
                assert time.monotonic() < end, f"nobody listens on {place}"
                time.sleep(0.2)
            else:
                return Connection(stream.makefile("rb"), stream.makefile("wb"), self._hear)

    def _begin(self, connection: Connection, configuration: Json) -> None:
        self._connections.append(connection)
        abilities = {"supportsRunInTerminalRequest": True, "supportsStartDebuggingRequest": True}
        words = {"adapterID": "debugpy", "clientID": "vscode", "pathFormat": "path"}
        connection.ask("initialize", {**words, **abilities, "linesStartAt1": True}).result(SECONDS)
        # Its answer comes only after configurationDone.
        started = connection.ask(configuration["request"], configuration)
        if connection is self._main:
            self._started = started
            started.add_done_callback(self._note_failure)

    def _note_failure(self, started: Future[Json]) -> None:
        if (error := started.exception()) and not self._exit.done():
            self._end(error)

    def _hear(self, connection: Connection, message: Json) -> None:
        kind, body = message.get("event") or message["command"], message.get("body", {})
        if kind == "initialized":
            for one in self._breakpoints:
                lines = {"source": {"path": str(one.path)}, "breakpoints": [{"line": one.line}]}
                connection.ask("setBreakpoints", lines)
            connection.ask("setExceptionBreakpoints", {"filters": ["uncaught"]})
            connection.ask("configurationDone")
        elif kind == "runInTerminal":
            words = message["arguments"]
            self.terminal = self._open_terminal(words["args"], words["cwd"], words.get("env", {}))
            connection.answer(message, {"processId": self.terminal.process.pid})
        elif kind == "startDebugging":  # a process that the program started
            connection.answer(message, {})
            inner = message["arguments"]["configuration"] | {"request": message["arguments"]["request"]}
            Thread(target=lambda: self._begin(self._connected(inner["connect"]), inner), daemon=True).start()
        elif kind == "stopped":
            if body["reason"] not in ("breakpoint", "step") and not self._exit.done():
                Thread(target=self._end_at_exception, args=(connection, body), daemon=True).start()
            else:
                self._stops.put((connection, body))
        elif kind == "output" and body.get("category") in ("stdout", "stderr"):
            self.printed += body["output"]
        elif kind == "exited" and connection is self._main and not self._exit.done():
            self._end(body["exitCode"])

    def _end_at_exception(self, connection: Connection, stop: Json) -> None:
        frames = connection.ask("stackTrace", {"threadId": stop["threadId"]}).result(SECONDS)["stackFrames"]
        places = [f"{one.get('source', {}).get('path')}:{one['line']} {one['name']}" for one in reversed(frames)]
        what = f"stopped at {stop.get('description')}: {stop.get('text')}"
        self._end(Stopped("\n".join([what, *places, self.text])))

    def _end(self, outcome: int | BaseException) -> None:
        self._stops.put(outcome)
        self._exit.set_exception(outcome) if isinstance(outcome, BaseException) else self._exit.set_result(outcome)

    def _variables(self, connection: Connection, scope: Json) -> dict[str, str]:
        """By name. debugpy gathers a module's own, such as __name__, in a group."""
        found = {}
        asked = {"variablesReference": scope["variablesReference"]}
        for one in connection.ask("variables", asked).result(SECONDS)["variables"]:
            group = one["name"].endswith(" variables")
            found |= self._variables(connection, one) if group else {one["name"]: one["value"]}
        return found
