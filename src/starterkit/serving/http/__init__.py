"""A model behind HTTP: JSON in, JSON out, every refusal with its hint."""
