"""What the gate is told about a version, collected from its registered files, its run and the holdout."""

from starterkit.evidence.collecting import collect_evidence

__all__ = ["collect_evidence"]
