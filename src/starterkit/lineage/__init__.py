"""Where a version comes from, and whether it can be made again. See docs/decisions/0013-reproduce.md."""

from starterkit.lineage.causes import in_words
from starterkit.lineage.origin import Origin, trace
from starterkit.lineage.reproducer import Reproducer, Reproduction

__all__ = ["Origin", "Reproducer", "Reproduction", "in_words", "trace"]
