"""The command line: parses, calls one class, shows the result. The only room that prints."""

import signal
import sys
from types import FrameType

from starterkit.errors import KitError, of_machine

_INTERRUPTED = 130
_ENDED = 143


def main() -> None:
    """Run a command.

    A mistake of the user's ends with exit code 2, a refusal or failure with 1, Ctrl-C with 130, `kill` with 143.
    """
    signal.signal(signal.SIGTERM, _end)
    try:
        _run()
    except KeyboardInterrupt:  # before typer was there to turn it into an exit code
        _say_stopped()
        sys.exit(_INTERRUPTED)
    except SystemExit as ended:
        if ended.code in (_INTERRUPTED, _ENDED):
            _say_stopped()
        raise


def _run() -> None:
    try:
        from starterkit.cli.commands import app

        app()
    except KitError as error:
        _show(error)
    except OSError as error:
        foreseen = of_machine(error)
        if foreseen is None:
            raise
        _show(foreseen)
    except MemoryError:
        _show(KitError("the machine has no memory left for this", "Close other programs, or give fewer rows"))


def _show(error: KitError) -> None:
    from starterkit.cli.console import show_error

    show_error(error)
    sys.exit(error.exit_code)


def _end(number: int, frame: FrameType | None) -> None:
    """`kill` is Ctrl-C by another name: a run is marked, and nothing stays half-made."""
    raise SystemExit(_ENDED)


def _say_stopped() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is to end
    print("\nStopped. Finished steps are kept; give the same command again.", file=sys.stderr)
