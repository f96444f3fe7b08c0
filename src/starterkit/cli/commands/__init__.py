"""The commands. Each imports what it needs when it is called, so that ``--help`` answers at once."""

# In the order in which --help shows them.
# isort: off
from starterkit.cli.commands.common import app
from starterkit.cli.commands import starting
from starterkit.cli.commands import steps
from starterkit.cli.commands import data
from starterkit.cli.commands import versions
from starterkit.cli.commands import bundles
from starterkit.cli.commands import answers
from starterkit.cli.commands import origin
from starterkit.cli.commands import installation
# isort: on

__all__ = ["answers", "app", "bundles", "data", "installation", "origin", "starting", "steps", "versions"]
