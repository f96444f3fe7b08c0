"""The feedback loop: predictions as they were answered, and the labels that came for them."""
