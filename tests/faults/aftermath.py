"""What comes after a fault: `doctor` and the next run, asked once for each state that faults leave."""

import os
import pickle
from dataclasses import dataclass
from pathlib import Path

from scratch import Outcome, Scratch, State


@dataclass(frozen=True)
class Aftermath:
    """What was said of a state, and what became of it.

    Attributes
    ----------
    row
        The fault after which it was asked.
    untouched
        Whether `doctor` left the state as it was.
    state
        What there is after the next run.
    """

    row: str
    doctor: Outcome
    untouched: bool
    following: Outcome
    state: State


class Aftermaths:
    """Those that were asked for already, by all workers, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, scratch: Scratch, row: str) -> Aftermath:
        """Of this copy, or of another one that was left in the same state and was asked before."""
        file = self._folder / scratch.shape()
        if file.exists():
            return pickle.loads(file.read_bytes())
        left = scratch.state()
        doctor = scratch.run("doctor")
        untouched = scratch.state() == left
        found = Aftermath(row, doctor, untouched, scratch.run("run"), scratch.state())
        self._folder.mkdir(exist_ok=True)
        half = self._folder / f"half.{os.getpid()}"  # another worker may look for it now
        half.write_bytes(pickle.dumps(found))
        half.replace(file)
        return found
