"""Decides about a version: what the gate is told and says, who is champion, and where it comes from."""
