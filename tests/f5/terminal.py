"""A terminal of the editor's: a command in a session of its own, and what it printed."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

import psutil

_ROWS, _COLUMNS = 30, 120
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """Runs a command behind a pseudo-terminal, so that it shows what it shows a person."""

    def __init__(self, command: Sequence[str], cwd: str | Path, environ: Mapping[str, str]) -> None:
        self._keyboard, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command, cwd=cwd, env=dict(environ) | {"TERM": "xterm-256color"}, stdin=inside, stdout=inside,
            stderr=inside, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C reaches it as from a keyboard
        )  # fmt: skip
        os.close(inside)
        self._printed = b""
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):  # the last process that held the other side ended
            while piece := os.read(self._keyboard, 4096):
                self._printed += piece

    @property
    def text(self) -> str:
        return _CONTROLS.sub("", self._printed.decode("utf-8", "replace"))

    def press_ctrl_c(self) -> None:
        os.write(self._keyboard, b"\x03")

    def processes(self) -> dict[int, str]:
        found = {}
        for one in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it ended meanwhile, or is a zombie
                if os.getsid(one.pid) == self.process.pid:
                    found[one.pid] = " ".join(one.cmdline())
        return found

    def require_empty(self, seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.1)
        assert not left, f"still running: {left}\n{self.text}"

    def close(self) -> None:
        for number in self.processes():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self.process.wait()
