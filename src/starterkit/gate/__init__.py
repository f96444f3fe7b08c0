"""Evidence in, verdict out. Pure: the gate reads no file, no server and no clock."""

from starterkit.gate.checks import AbsoluteLimit, BetterThanBaseline, NotWorseThanChampion, ParityProven
from starterkit.gate.gate import Decision, Gate

__all__ = ["AbsoluteLimit", "BetterThanBaseline", "Decision", "Gate", "NotWorseThanChampion", "ParityProven"]
