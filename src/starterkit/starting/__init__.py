"""From a file of the user's to a project that runs: look at the columns, guess what they mean, write it down."""

from starterkit.starting.placing import Placing
from starterkit.starting.planning import Undecided
from starterkit.starting.starter import ProblemStarter, Started

__all__ = ["Placing", "ProblemStarter", "Started", "Undecided"]
