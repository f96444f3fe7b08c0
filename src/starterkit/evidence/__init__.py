"""What the gate is told about a version, collected from its registered files, its run and the holdout."""

from starterkit.evidence.collecting import collect_evidence
from starterkit.evidence.keeping import keep_evidence
from starterkit.evidence.record import EvidenceRecord, make_record

__all__ = ["EvidenceRecord", "collect_evidence", "keep_evidence", "make_record"]
