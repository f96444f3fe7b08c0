"""The challenger in the shadow, as the API starts it: a process of its own beside each process that answers."""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from starterkit.cli.champion import fetched_by_another, open_fetched, version_named
from starterkit.contract import Contract
from starterkit.files import scratch_folder
from starterkit.serving.follower import Named
from starterkit.serving.predictor import ServedModel
from starterkit.serving.shadow import Scorer, Shadow, Watch
from starterkit.settings import Settings, load_settings


def begin_shadow(settings: Settings, served: ServedModel, watch: Watch, warn: Callable[[str], None]) -> Shadow | None:
    """What is given the answered requests; None where the settings want none, or nothing would keep what it says."""
    if settings.serving.shadow is None:
        return None
    if not settings.feedback.log:
        warn("No shadow: feedback.log is off, which would keep its answers")
        return None

    def start() -> tuple[Connection, BaseProcess]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_score, args=(theirs, served.contract), name="shadow", daemon=True)
        process.start()
        theirs.close()  # so that each side sees when the other one ends
        return ours, process

    return Shadow(start, watch)


def _score(connection: Connection, contract: Contract) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who answers; this one ends with it
    logging.disable()  # what is to be said is said there
    settings = load_settings()
    from starterkit.feedback.predictions import PredictionLog, ShadowRecorder

    record = partial(ShadowRecorder, PredictionLog(settings))
    scorer = Scorer(connection, contract, Challengers(settings), record)
    stand_back()
    scorer.run(settings.serving.follow_seconds)


def stand_back() -> None:
    """Leave the processor to everybody else: on Linux this thread and those that it starts, elsewhere the process.

    A thread that is idle by its class makes way at once; one that is only nice ends its turn of some milliseconds.
    """
    with suppress(AttributeError, OSError):  # not Linux, or a container that forbids it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(AttributeError):
        os.nice(19)


class Challengers:
    """Which version is the challenger, by the settings' number or the registry's alias, and its files."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def named(self) -> Named | None:
        from starterkit.tracking.registry import CHALLENGER

        number = self._settings.serving.shadow
        return Named(str(number), "") if isinstance(number, int) else version_named(self._settings, CHALLENGER)

    @contextmanager
    def opened(self, wanted: Named) -> Generator[ServedModel, None, None]:
        """As a champion is opened: its files are what the registry and its contract say, and it answers its sample.

        Raises
        ------
        ContractError, Refused, TrackingError
            They are not; staging and prod ask what its gate said; the registry does not answer.
        """
        with scratch_folder() as scratch:
            found = open_fetched(self._settings, fetched_by_another(scratch, None, wanted.version))
        yield replace(found, mark=wanted.mark)
