"""The evidence of a decision, kept with the version for good."""

from starterkit.evidence.record import EvidenceRecord
from starterkit.registry import ModelRegistry, Version
from starterkit.scratch import scratch_folder
from starterkit.tracking import keep_files

EVIDENCE_FILE = "evidence.json"
PAGE_FILE = "gate.html"


def keep_evidence(registry: ModelRegistry, version: Version, record: EvidenceRecord) -> str:
    """Log the record and its page with the version's run, and name both in the version's tags.

    Each judgement has a folder of its own, so that judging again loses nothing. Killed in between, the tags name what
    is whole.

    Returns
    -------
    digest
        The SHA-256 of `evidence.json`, hexadecimal.
    """
    from starterkit.reports.gate_page import gate_page

    place = f"gate/{version.model}-{version.number}/{record.digest[:12]}"
    with scratch_folder() as folder:
        (folder / EVIDENCE_FILE).write_text(record.text, encoding="utf-8", newline="\n")
        (folder / PAGE_FILE).write_text(gate_page(record.content, record.digest), encoding="utf-8")
        keep_files(registry.connection, version.run, folder, place)
    registry.tag(version, {"evidence": record.digest, "evidence_place": place})
    return record.digest
