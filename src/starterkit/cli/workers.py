"""`serving.workers`: several processes that answer on one port, each started again when it ends by itself."""

import sys
import time
from multiprocessing.context import SpawnProcess
from pathlib import Path

import typer

from starterkit.cli.processes import end, listen_on, start_answering
from starterkit.settings import Settings

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_START = 10
"""One that is refused sooner than this would be refused again. One that somebody killed is not."""


class Workers:
    """As many processes as the settings say. The first one speaks for all of them.

    Parameters
    ----------
    settings, folder
        As `answer` takes them.
    """

    def __init__(self, settings: Settings, folder: Path | None) -> None:
        self._settings = settings
        self._folder = folder

    def run(self) -> None:
        """Answer until Ctrl-C.

        Raises
        ------
        SystemExit
            A process was refused at its start, and has said why.
        """
        with listen_on(self._settings) as listening:
            working: list[tuple[SpawnProcess, float]] = []
            try:
                for number in range(self._settings.serving.workers):
                    process = start_answering(listening, self._settings, self._folder, quiet=number > 0)
                    working.append((process, time.monotonic()))
                while True:
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                    for place, (process, since) in enumerate(working):
                        if process.is_alive():
                            continue
                        if (process.exitcode or 0) > 0 and time.monotonic() - since < _SECONDS_TO_START:
                            sys.exit(process.exitcode)
                        typer.echo(f"A process ended with {process.exitcode}: starting another", err=True)
                        another = start_answering(listening, self._settings, self._folder, quiet=True)
                        working[place] = another, time.monotonic()
            except KeyboardInterrupt:
                pass
            finally:
                for process, _ in working:
                    process.terminate()
                for process, _ in working:
                    end(process)
