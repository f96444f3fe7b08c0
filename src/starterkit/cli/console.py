"""How things look: colour and a spinner on a terminal, plain lines elsewhere.

Results go to stdout, progress and errors to stderr.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import NoReturn

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table
from rich.text import Text

from starterkit.errors import KitError, of_machine
from starterkit.progress import Event, stop_if_asked

_PLAIN_WIDTH = 200
"""Lines for a file or a pipe are not folded at 80 columns."""

_SECONDS_BETWEEN_LINES = 10


def console(stderr: bool = False) -> Console:
    """A console for results, or for progress and errors."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, width=None if terminal else _PLAIN_WIDTH)


class ProgressView:
    """Shows events: a spinner with the step's name and how far it is, and a line for each step that ended."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._status: Status | None = None
        self._told = 0.0

    def __call__(self, event: Event) -> None:
        if event.state == "went on":
            self._show_how_far(event)
            return
        self._told = 0.0
        if self._status is not None:
            self._status.stop()
            self._status = None
        if event.state != "failed":
            stop_if_asked()
        if event.state == "began" and self._console.is_terminal:
            self._status = self._console.status(f"{escape(event.step)} …")
            self._status.start()
        if event.state == "ended":
            self._console.print(f"  {event.step:<20} {event.seconds:>5.1f} s  {event.note}", markup=False)

    def _show_how_far(self, event: Event) -> None:
        """A live line on a terminal; elsewhere a line every few seconds, for somebody reads it later."""
        share = "" if event.share is None else f"{event.share:4.0%}  "
        if self._status is not None:
            self._status.update(f"{escape(event.step)} … {share}{escape(event.note)}")
        elif event.seconds - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = event.seconds
            self._console.print(f"  {event.step:<20} {event.seconds:>5.0f} s  {share}{event.note}", markup=False)


def table(rows: Iterable[Sequence[str | Text]], header: Sequence[str] = (), right: Sequence[int] = ()) -> Table:
    """A table without lines, whose texts are shown as they are. `right` names the columns whose cells are numbers."""
    made = Table(box=None, show_header=bool(header), padding=(0, 2), header_style="bold")
    cells = [[Text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    for index, title in enumerate(header or [""] * max((len(row) for row in cells), default=0)):
        made.add_column(title, justify="right" if index in right else "left", overflow="fold")
    for row in cells:
        made.add_row(*row)
    return made


def show_warnings(warnings: Iterable[str]) -> None:
    """What the stage lets pass, but should be mended."""
    for warning in warnings:
        console(stderr=True).print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)


def show_error(error: KitError) -> None:
    """One line that names the thing and one that says what to do; bad data gets its table too."""
    out = console(stderr=True)
    failures = getattr(error, "failures", ())
    if failures:
        rows = [(failure.column, failure.check, str(failure.count), failure.rows_in_words) for failure in failures]
        out.print(table(rows, header=("column", "check", "rows", "row numbers, from 0"), right=(2,)))
    out.print(f"[bold red]error:[/] {escape(error.what)}.", soft_wrap=True)
    if error.hint:
        out.print(f"       {escape(error.hint)}.", soft_wrap=True)


@contextmanager
def tell_failures() -> Iterator[None]:
    """End with one line and an exit code where something fails that the kit foresaw."""
    try:
        try:
            yield
        except Exception:
            stop_if_asked()  # an interruption that an import or a library turned into an error of its own
            raise
    except (KitError, OSError) as error:
        foreseen = error if isinstance(error, KitError) else of_machine(error)
        if foreseen is None:
            raise
        _end_with(foreseen)
    except ModuleNotFoundError as error:  # the serving image holds what `serve` needs, and no more
        package = (error.name or "").partition(".")[0]
        if not package or find_spec(package) is not None:
            raise
        what = f"this command needs the package '{package}', which is not installed here"
        _end_with(KitError(what, "Bring the environment up to date with `make env`; the serving image can only serve"))
    except MemoryError:
        _end_with(KitError("the machine has no memory left for this", "Close other programs, or give fewer rows"))


def _end_with(error: KitError) -> NoReturn:
    show_error(error)
    sys.exit(error.exit_code)
