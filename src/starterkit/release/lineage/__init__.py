"""Where a version comes from, and whether it can be made again. See docs/decisions/0013-reproduce.md."""
