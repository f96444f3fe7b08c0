"""Looks at the whole installation, changes nothing, and says what fails, with its hint."""
