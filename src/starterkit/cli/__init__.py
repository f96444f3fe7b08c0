"""The command line: parses, calls one class, shows the result. The only room that prints."""

import signal
import sys
from io import TextIOWrapper

from starterkit.progress import ENDED, INTERRUPTED, collect_seldom, listen


def main() -> None:
    """Run a command.

    A mistake of the user's ends with exit code 2, a refusal or failure with 1, Ctrl-C with 130, `kill` with 143.
    """
    listen()
    collect_seldom()
    _write_anything()
    try:
        from starterkit.cli.console import tell_failures

        with tell_failures():
            # In the order in which --help shows them.
            from starterkit.cli.commands import app, steps, versions, operations, monitor  # noqa: F401, I001

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


def _say_stopped() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is to end
    print("\nStopped. Finished steps are kept; give the same command again.", file=sys.stderr)
