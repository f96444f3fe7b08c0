"""Evidence in, verdict out. Pure: the gate reads no file, no server and no clock."""

from starterkit.gate.comparison import Comparison, Rule, compare_with_champion
from starterkit.gate.gate import Decision, Gate

__all__ = ["Comparison", "Decision", "Gate", "Rule", "compare_with_champion"]
