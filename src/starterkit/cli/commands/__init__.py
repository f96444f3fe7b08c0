"""The commands. Each imports what it needs when it is called, so that ``--help`` answers at once."""

# In the order in which --help shows them.
# isort: off
from starterkit.cli.commands.options import app
from starterkit.cli.commands import steps
from starterkit.cli.commands import versions
from starterkit.cli.commands import predictions
from starterkit.cli.commands import installation
# isort: on

__all__ = ["app", "installation", "predictions", "steps", "versions"]
