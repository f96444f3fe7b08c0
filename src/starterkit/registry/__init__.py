"""Versions, which of them is the champion, and who said so. The second room, beside tracking, that knows MLflow."""

from starterkit.registry.files import delete_with_files, files_of, others_with, size_of
from starterkit.registry.history import Act, Break, Entry, Person, Result, find_break
from starterkit.registry.ledger import HEAD, Ledger
from starterkit.registry.lock import Lock, Locked, PromotionLock
from starterkit.registry.registry import (
    CHAMPION,
    ModelRegistry,
    UnknownVersion,
    Version,
    address_of,
    champion_at_hand,
)

__all__ = [
    "CHAMPION",
    "HEAD",
    "Act",
    "Break",
    "Entry",
    "Ledger",
    "Lock",
    "Locked",
    "ModelRegistry",
    "Person",
    "PromotionLock",
    "Result",
    "UnknownVersion",
    "Version",
    "address_of",
    "champion_at_hand",
    "delete_with_files",
    "files_of",
    "find_break",
    "others_with",
    "size_of",
]
