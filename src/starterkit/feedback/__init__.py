"""The feedback loop: predictions as they were answered, the labels that came for them, and what both say."""
