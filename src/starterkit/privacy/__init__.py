"""What a stage may see of a person: its policy, the treatments, and the proof that they were applied.

See docs/data-policy.md and docs/decisions/0017-data-policy.md.
"""

from starterkit.privacy.keys import KEY_FILE, StageKey, find_key, make_key, throwaway_key
from starterkit.privacy.policy import Policy
from starterkit.privacy.proof import Proof
from starterkit.privacy.sight import in_words, require_sight, sees_raw, treats_as_it_reads

__all__ = [
    "KEY_FILE",
    "Policy",
    "Proof",
    "StageKey",
    "find_key",
    "in_words",
    "make_key",
    "require_sight",
    "sees_raw",
    "throwaway_key",
    "treats_as_it_reads",
]
