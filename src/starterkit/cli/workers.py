"""`serving.workers`: several processes that answer on one port, each started again when it ends by itself."""

import sys
import time
from contextlib import ExitStack
from multiprocessing.context import SpawnProcess
from pathlib import Path

import typer

from starterkit.cli.champion import keep_champion
from starterkit.cli.console import ProgressView
from starterkit.cli.processes import end, listen_on, start_answering
from starterkit.progress import step
from starterkit.scratch import scratch_folder
from starterkit.settings import Settings

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_START = 10
"""One that is refused sooner than this would be refused again. One that somebody killed is not."""


class Workers:
    """As many processes as the settings say. The first one speaks for all of them.

    The champion is fetched once, so that all answer with the same version: after a promotion, too, when one of them has
    to be started again.

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
        with ExitStack() as opened:
            listening = opened.enter_context(listen_on(self._settings))
            folder = self._folder or self._fetch(opened.enter_context(scratch_folder("model")))
            working: list[tuple[SpawnProcess, float]] = []
            try:
                for number in range(self._settings.serving.workers):
                    process = start_answering(listening, self._settings, folder, quiet=number > 0)
                    working.append((process, time.monotonic()))
                while True:
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                    for place, (process, since) in enumerate(working):
                        if process.is_alive():
                            continue
                        if (process.exitcode or 0) > 0 and time.monotonic() - since < _SECONDS_TO_START:
                            sys.exit(process.exitcode)
                        typer.echo(f"A process ended with {process.exitcode}: starting another", err=True)
                        another = start_answering(listening, self._settings, folder, quiet=True)
                        working[place] = another, time.monotonic()
            except KeyboardInterrupt:
                pass
            finally:
                for process, _ in working:
                    process.terminate()
                for process, _ in working:
                    end(process)

    def _fetch(self, scratch: Path) -> Path:
        with step(ProgressView(), "fetch the champion") as note:
            kept = keep_champion(scratch / "model")
            note.text = kept.title
        return kept.folder
