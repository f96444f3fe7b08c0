"""What a stage may see of a person: its policy, the masking, and the proof that it was done.

See docs/data-policy.md and docs/decisions/0017-data-policy.md.
"""
