"""Evidence in, verdict out. Pure: the gate reads no file, no server and no clock."""

from starterkit.gate.gate import Decision, Gate

__all__ = ["Decision", "Gate"]
