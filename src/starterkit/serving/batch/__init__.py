"""The same `Predictor` over files and folders, in flat memory. See docs/decisions/0011-batch.md."""
