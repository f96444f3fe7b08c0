"""The command line: parses, calls one class, shows the result. The only room that prints."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import TextIOWrapper

from starterkit.cli.signals import ENDED, INTERRUPTED, collect_seldom, listen
from starterkit.errors import KitError, of_machine


def main() -> None:
    """Run a command.

    A mistake of the user's ends with exit code 2, a refusal or failure with 1, Ctrl-C with 130, `kill` with 143.
    """
    listen()
    collect_seldom()
    _write_anything()
    try:
        with tell_failures():
            from starterkit.cli.commands.options import app

            app()
    except KeyboardInterrupt:  # before typer was there to turn it into an exit code
        _say_stopped()
        sys.exit(INTERRUPTED)
    except SystemExit as ended:
        if ended.code in (INTERRUPTED, ENDED):
            _say_stopped()
        raise


def _write_anything() -> None:
    """Show a sign that a terminal or pipe has not, such as ² in ASCII, as its code instead of stopping there."""
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def tell_failures() -> Iterator[None]:
    """End with one line and an exit code where something fails that the kit foresaw."""
    try:
        yield
    except KitError as error:
        _show(error)
    except OSError as error:
        foreseen = of_machine(error)
        if foreseen is None:
            raise
        _show(foreseen)
    except ModuleNotFoundError as error:  # the serving image holds what `serve` needs, and no more
        package = (error.name or "").partition(".")[0]
        if not package or find_spec(package) is not None:
            raise
        what = f"this command needs the package '{package}', which is not installed here"
        _show(KitError(what, "Bring the environment up to date with `make env`; the serving image can only serve"))
    except MemoryError:
        _show(KitError("the machine has no memory left for this", "Close other programs, or give fewer rows"))


def _show(error: KitError) -> None:
    from starterkit.cli.console import show_error

    show_error(error)
    sys.exit(error.exit_code)


def _say_stopped() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is to end
    print("\nStopped. Finished steps are kept; give the same command again.", file=sys.stderr)
