"""Looks at the whole installation, changes nothing, and says what fails, with its mend."""

from starterkit.doctor.doctor import Doctor
from starterkit.doctor.finding import Finding

__all__ = ["Doctor", "Finding"]
