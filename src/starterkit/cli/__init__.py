"""The command line: parses, calls one class, shows the result. The only room that prints."""

import sys

from starterkit.errors import KitError

_INTERRUPTED = 130


def main() -> None:
    """Run a command. A mistake of the user's ends with exit code 2, a refusal or failure with 1, Ctrl-C with 130."""
    from starterkit.cli.commands import app

    try:
        app()
    except KitError as error:
        from starterkit.cli.console import show_error

        show_error(error)
        sys.exit(error.exit_code)
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            print("\nStopped. Finished steps are kept.", file=sys.stderr)
        raise
