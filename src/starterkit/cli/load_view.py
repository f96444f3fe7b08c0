"""`loadtest`: an API of its own, or one that runs; the load; the stage's limits; a run in MLflow."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from starterkit.cli.console import ProgressView, console, table
from starterkit.errors import KitError, Refused
from starterkit.machine import running
from starterkit.progress import step
from starterkit.serving.loadtest import LimitResult, LoadReport, LoadTest
from starterkit.serving.traffic import TrafficSender
from starterkit.settings import Settings

_SECONDS_TO_START = 120
_RESOURCES = ("workers", "threads", "providers", "memory_mb")


def read_records(settings: Settings, view: ProgressView) -> list[dict[str, Any]]:
    """The holdout's rows, as clients send them."""
    with step(view, "read the data") as note:
        from starterkit.data.dataset import as_records
        from starterkit.data.reader import DatasetReader
        from starterkit.problem import find_problem

        dataset = DatasetReader.of(find_problem(), settings).read()
        records = as_records(dataset.holdout.features)
        note.text = f"{len(records)} rows of the holdout"
    return records


def key_of(settings: Settings) -> str | None:
    """The key to send, where the stage asks for one."""
    secret = settings.serving.api_key if settings.serving.require_api_key else None
    return secret.get_secret_value() if secret else None


def load(settings: Settings, url: str | None, view: ProgressView) -> LoadReport:
    """Drive the API at this address, or one that is started with the stage's resources and ended afterwards.

    Raises
    ------
    KitError
        The API does not get ready, or ends.
    """
    records, key = read_records(settings, view), key_of(settings)
    if url is not None:
        TrafficSender(url, key, view).wait_until_ready(0)
        return LoadTest(settings.loadtest, lambda: TrafficSender(url, key), None, view).run(records)
    with _api(settings) as (address, process):
        TrafficSender(address, key, view).wait_until_ready(_SECONDS_TO_START, lambda: process.poll() is None)
        return LoadTest(settings.loadtest, lambda: TrafficSender(address, key), process.pid, view).run(records)


@contextmanager
def _api(settings: Settings) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """An API on a free port of this machine. What it says is told where it fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = os.environ | {"KIT_SERVING__HOST": "127.0.0.1", "KIT_STAGE": settings.stage}
    command = [sys.executable, "-m", "starterkit", "serve", "--port", str(port)]
    with (
        tempfile.TemporaryFile() as said,
        running(command, cwd=settings.root, env=environ, stdout=said, stderr=said) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}", process
        except KitError as error:
            said.seek(0)
            _, found, told = said.read().decode("utf-8", "replace").rpartition("error: ")
            if not found or process.poll() is None:
                raise
            what, hint, *_ = [*map(str.strip, told.splitlines()), ""]  # as `show_error` writes them
            raise KitError(f"the API did not start: {what}", hint or error.hint) from error


def keep(
    settings: Settings, measured: LoadReport, held: Sequence[LimitResult], url: str | None, view: ProgressView
) -> str:
    """Log the test as a run of the experiment `<stage>.<name>.load`; the run's id comes back."""
    with step(view, "keep the figures") as note:
        from starterkit.cli.champion import name_of_problem
        from starterkit.tracking.connection import connect
        from starterkit.tracking.runs import Tracker
        from starterkit.training.figures import latency_figure

        connection = connect(settings.tracking, settings.root)
        tracker = Tracker(connection, f"{settings.stage}.{name_of_problem()}.load")
        with tracker.start(f"load {datetime.now():%Y-%m-%d %H:%M:%S}") as run:
            resources = {name: getattr(settings.serving, name) for name in _RESOURCES}
            run.log_parameters({**resources, "connections": settings.loadtest.connections, "api": url or "started"})
            run.tag({"served": measured.served, "verdict": "passed" if all(one.passed for one in held) else "refused"})
            run.log_scores(measured.figures)
            if measured.latencies:
                run.log_figure(latency_figure(measured.latencies), "latency")
        note.text = f"run {run.id}"
    return run.id


def show(measured: LoadReport, held: Sequence[LimitResult]) -> None:
    """Every figure, with its limit where the stage has one."""
    limits: Mapping[str, LimitResult] = {one.name: one for one in held}
    rows = []
    for name, figure in measured.figures.items():
        limit = limits.get(name)
        words = "" if limit is None else ("pass" if limit.passed else "REFUSE")
        bound = "" if limit is None else f"{'at least' if limit.least else 'at most'} {limit.limit:g}"
        rows.append((words, name, f"{figure:,.4g}", bound))
    missing = [one for one in held if one.name not in measured.figures]
    rows += [("REFUSE", one.name, "not measured", f"{one.limit:g}") for one in missing]
    console().print(table(rows, header=("verdict", "figure", "measured", "limit"), right=(2, 3)))
    console().print("\nThe clients ran on this machine, too, and took their part of its cores.")


def require_held(measured: LoadReport, held: Sequence[LimitResult]) -> None:
    """
    Raises
    ------
    Refused
        A limit does not hold.
    """
    broken = [one.name for one in held if not one.passed]
    if broken:
        why = f"; the first error: {measured.why}" if measured.why else ""
        what = f"the API does not hold the stage's limits for {', '.join(broken)}{why}"
        raise Refused(what, "Give it more in the section serving, or change the limits in loadtest if they are wrong")
