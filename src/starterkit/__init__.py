"""The kit: every step of a model's life, from raw data to a gated version that answers."""
