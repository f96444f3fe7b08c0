"""A version's way to another server: one signed file that holds the model and what speaks for it.

Each process knows one MLflow server. So one process writes the file, and another brings it in.
See docs/promotion-two-servers.md.
"""

from starterkit.promotion.bundle.bringing import Arrival, bring_in, require_prod
from starterkit.promotion.bundle.keys import KEY_FILE, SigningKey, key_id, make_key
from starterkit.promotion.bundle.manifest import Manifest
from starterkit.promotion.bundle.opening import Opened, opened
from starterkit.promotion.bundle.writing import Written, write_bundle

__all__ = [
    "KEY_FILE",
    "Arrival",
    "Manifest",
    "Opened",
    "SigningKey",
    "Written",
    "bring_in",
    "key_id",
    "make_key",
    "opened",
    "require_prod",
    "write_bundle",
]
