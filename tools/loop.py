"""The closed loop on this machine, in two minutes: `make loop`.

A champion is trained and answers over HTTP. The example's patients are replayed as traffic, and their labels come late.
Half-way the world moves: blood pressure is measured on another device, and the disease runs faster. The monitor sees
the one before any label, and the other with them; a rule opens a retraining, the gate decides on rows that the
challenger never saw, the API takes the new champion while it runs, and quality is back. All is in `build/loop`, which
is made anew; nothing of the project's own store is touched. `python tools/loop.py postgresql://…` keeps the predictions
there.
"""

from __future__ import annotations

import csv
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "loop"
PAGE = FOLDER / "monitoring.html"
BATCH = 10
SECONDS_OF_TRAFFIC = 2.0
OFFSET_PRESSURE, OFFSET_TARGET = 16.0, 60.0
RULES = [
    {"figure": "drifted_columns", "above": 0},
    {"figure": "quality_loss", "above": 0.1, "then": "retrain"},
]
SETTINGS = {
    "KIT_STAGE": "local",
    "KIT_TRAINING__PARAMS": '{"n_estimators": 60, "learning_rate": 0.1, "max_depth": 2}',
    "KIT_EXPORT__PARITY_ROWS": "1000",
    "KIT_SERVING__FOLLOW_SECONDS": "1",
    "KIT_MONITORING__RULES": json.dumps(RULES),
    "KIT_MONITORING__LEAST_LABELLED": "100",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
}
SECONDS_TO_START = 60


class Unexpected(Exception):
    """The loop did not close. The message is one line and says where."""


@dataclass
class Told:
    """A line of the table: what happened, and what was seen then."""

    what: str
    champion: str = ""
    rows: str = ""
    quality: str = ""
    drifted: str = ""
    said: str = ""
    state: str = ""


@dataclass
class Board:
    """The live table."""

    console: Console
    lines: list[Told] = field(default_factory=list)
    live: Live | None = None
    began: float = field(default_factory=time.monotonic)

    def add(self, line: Told) -> None:
        self.lines.append(line)
        if self.live is not None:
            self.live.update(self.table(), refresh=True)
        if not self.console.is_terminal:
            words = (line.what, line.champion, line.rows, line.quality, line.drifted, line.said)
            self.console.print(
                f"{time.monotonic() - self.began:5.1f} s  " + " · ".join(filter(None, words)), markup=False
            )

    def table(self) -> Table:
        made = Table(box=None, padding=(0, 2), header_style="bold")
        for name in ("", "champion", "rows", "rmse", "drifted"):
            made.add_column(name, justify="right" if name in ("rows", "drifted") else "left")
        made.add_column("", overflow="fold")
        for line in self.lines:
            style = {"good": "green", "bad": "red", "": ""}[line.state]
            made.add_row(line.what, line.champion, line.rows, line.quality, line.drifted, Text(line.said, style))
        return made


# --- The world: patients before the champion, and what becomes of them.


@dataclass
class World:
    """The example's rows. `moved` is whether it has changed."""

    patients: list[dict[str, str]]
    features: tuple[str, ...]
    whole: frozenset[str]
    moved: bool = False

    def ask(self, patient: dict[str, str]) -> dict[str, float]:
        given = {name: float(patient[name]) for name in self.features}
        if self.moved:
            given["blood_pressure"] = min(200.0, given["blood_pressure"] + OFFSET_PRESSURE)
        return {name: int(value) if name in self.whole else value for name, value in given.items()}

    def truth(self, patient: dict[str, str]) -> float:
        return min(500.0, float(patient["progression"]) + OFFSET_TARGET * self.moved)


@dataclass
class Client:
    """Somebody who asks the API, and somebody who knows the truth later."""

    port: int
    world: World
    asked: list[tuple[str, float]] = field(default_factory=list)

    def call(self, method: str, path: str, document: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status >= 300:
                raise Unexpected(f"{method} {path} answered {answer.status}: {content[:200].decode(errors='replace')}")
            return answer.headers
        finally:
            connection.close()

    def replay(self) -> int:
        """All patients once, in another order, a few in a request."""
        order = random.sample(self.world.patients, len(self.world.patients))
        for begin in range(0, len(order), BATCH):
            some = order[begin : begin + BATCH]
            keys = [one["patient_id"] for one in some]
            told = self.call("POST", "/predict", {"records": [self.world.ask(one) for one in some], "keys": keys})
            request = told["X-Prediction-ID"]
            time.sleep(SECONDS_OF_TRAFFIC / (len(order) / BATCH))
            self.asked += [(f"{request}-{row}", self.world.truth(one)) for row, one in enumerate(some)]
        return len(order)

    def send_labels(self) -> int:
        """What became of the patients, all at once."""
        labels = [{"id": name, "label": label} for name, label in self.asked]
        for begin in range(0, len(labels), 500):
            self.call("POST", "/feedback", {"labels": labels[begin : begin + 500]})
        self.asked.clear()
        return len(labels)

    def version(self) -> str:
        first = self.world.ask(self.world.patients[0])
        return str(self.call("POST", "/predict", {"records": [first]})["X-Model-Version"])


@contextmanager
def api(environ: dict[str, str], port: int) -> Iterator[None]:
    """The API, in a process of its own, until the block ends."""
    with (FOLDER / "api.log").open("w") as log:
        command = [sys.executable, "-m", "starterkit", "serve", "--port", str(port)]
        process = subprocess.Popen(command, cwd=FOLDER, env=environ, stdout=log, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + SECONDS_TO_START
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port), 1):
                        break
                except OSError:
                    if process.poll() is not None or time.monotonic() > until:
                        raise Unexpected(f"the API does not start: see {FOLDER / 'api.log'}") from None
                    time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def scratch(database: str | None) -> dict[str, str]:
    """A repository with the example's data and an empty store; its environment comes back."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name in ("config", "data"):
        shutil.copytree(ROOT / name, FOLDER / name, ignore=shutil.ignore_patterns("dev", "test", "staging"))
    shutil.copy(ROOT / "requirements.txt", FOLDER)
    given = {name: value for name, value in os.environ.items() if not name.startswith("KIT_")}
    return given | SETTINGS | ({"KIT_FEEDBACK__DATABASE": database} if database else {})


def main(database: str | None = None) -> None:
    console = Console(highlight=False)
    console.print("[bold]The closed loop on this machine[/]: answered, watched, retrained, swapped")
    environ = scratch(database)
    os.environ.update({name: value for name, value in environ.items() if name.startswith(("KIT_", *SETTINGS))})
    os.chdir(FOLDER)
    board = Board(console)
    with Live(board.table(), console=console, auto_refresh=False, transient=not console.is_terminal) as live:
        board.live = live if console.is_terminal else None
        close_loop(board, environ)
    seconds = time.monotonic() - board.began
    console.print(
        f"\nThe loop closed in {seconds:.0f} seconds. Its last page: [link={PAGE.as_uri()}]{PAGE.as_uri()}[/link]"
    )


def close_loop(board: Board, environ: dict[str, str]) -> None:
    from starterkit.feedback.predictions import PredictionLog
    from starterkit.feedback.retraining import Retrainer
    from starterkit.feedback.watcher import Watcher, write_page
    from starterkit.pipeline import Pipeline
    from starterkit.problem import find_problem
    from starterkit.settings import load_settings

    problem, settings = find_problem(), load_settings(FOLDER)
    pipeline = Pipeline(problem, settings)
    trained = pipeline.run()
    features = tuple(column.name for column in problem.features)
    whole = frozenset(column.name for column in problem.features if column.type == "integer")
    with (FOLDER / "data" / "diabetes.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    board.add(Told("trained", _name(trained.promotion.champion), said=f"from {len(rows)} rows"))
    world = World(rows, features, whole)
    port = free_port()
    client = Client(port, world)
    reader = PredictionLog(settings)
    watcher = Watcher(pipeline, reader)

    def look(what: str, window: Any) -> Any:
        watched = watcher.watch(window)
        write_page(watched.page, PAGE)
        board.add(_seen(what, watched))
        return watched

    with api(environ, port):
        board.add(Told("answers", f"version {client.version()}", said=f"http://127.0.0.1:{port}/docs"))
        start = datetime.now(UTC)
        client.replay()
        window = _window(start)
        client.send_labels()
        look("the world as trained", window).require_kept()

        world.moved = True
        start = datetime.now(UTC)
        client.replay()
        window = _window(start)
        look("the world has moved", window)
        client.send_labels()
        watched = look("its labels come", window)
        if not watched.asks_for_retraining:
            raise Unexpected("the monitor did not ask for a retraining")

        why = "; ".join(one.text for one in watched.broken if one.rule.then == "retrain")
        done = Retrainer(pipeline, reader).retrain(window, why)
        acted = done.content
        write_page(watcher.add(watched, acted).page, FOLDER / "retraining.html")
        board.add(Told("retrained", said=" ".join([acted["title"] + ".", *acted["lines"][1:]]), state=acted["state"]))
        if not done.promotion.decision.passed:
            raise Unexpected("the gate refused the challenger")

        wanted, until = str(done.promotion.version.number), time.monotonic() + 30
        while client.version() != wanted:
            if time.monotonic() > until:
                raise Unexpected(f"the API still answers with version {client.version()}")
            time.sleep(0.3)
        board.add(Told("swapped", f"version {wanted}", said="while it ran"))

        start = datetime.now(UTC)
        client.replay()
        window = _window(start)
        client.send_labels()
        if look("the new champion answers", window).asks_for_retraining:
            raise Unexpected("quality has not come back")


def _window(start: datetime) -> Any:
    from starterkit.feedback.observation import Window

    return Window(start, datetime.now(UTC) + timedelta(milliseconds=5))


def _name(version: Any) -> str:
    return f"version {version.number}" if version else ""


def _seen(what: str, watched: Any) -> Told:
    observed = watched.observation
    deciding = next((one for one in observed.qualities if one.decides and not one.part), None)
    quality = f"{deciding.figure:.1f} ({deciding.low:.0f} to {deciding.high:.0f})" if deciding else "no label yet"
    moved = [one.column for one in observed.drifts if one.drifted]
    said = "; ".join(one.text for one in watched.broken) or "all is well"
    state = "bad" if watched.broken else "good"
    return Told(what, f"version {observed.version}", f"{observed.rows:,}", quality, str(len(moved)), said, state)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Unexpected as error:
        sys.exit(f"error: {error}")
