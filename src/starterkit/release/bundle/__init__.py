"""A version's way to another server: one signed file that holds the model and what speaks for it.

Each process knows one MLflow server. So one process writes the file, and another brings it in.
See docs/promotion-two-servers.md.
"""
