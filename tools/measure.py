"""Measures the house: how much there is to find one's way in, and how many files a row passes through.

    python tools/measure.py             every figure beside what is wanted
    python tools/measure.py --files     and the names: of the row's files, of modules, of imports
    python tools/measure.py --quick     without the runs that follow a row, which take a minute

Unmistakable values are planted in two rows of a copy of the example's data, of which one is held out. `starterkit run`
reads them, and `starterkit serve` is asked about one, each in a process that looks at every call into the kit: do its
arguments, its variables or what comes back hold one of these values? Nothing of the kit is named here but its command
line, so its rooms may move.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "starterkit"
HOUSE = ROOT / "src" / PACKAGE
PAGE = ROOT / "docs" / "afternoon.md"

COPIED = ("config", "data", "requirements.txt")
DATA = "data/diabetes.csv"
SIDES = {"a row that is trained on": "P002", "a row that is held out": "P007"}
PLANTED = {
    "a row that is trained on": {"bmi": "27.182818", "blood_pressure": "98.696044", "progression": "161.803398"},
    "a row that is held out": {"bmi": "31.415926", "blood_pressure": "86.602540", "progression": "141.421356"},
}
ASKED = "a row that is trained on"
ENVIRON = {
    "KIT_STAGE": "local",
    "KIT_TRAINING__PARAMS": '{"n_estimators": 20, "learning_rate": 0.2}',
    "KIT_EXPORT__PARITY_ROWS": "500",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
}
SECONDS_TO_START = 120


class CannotMeasure(Exception):
    """The message is one line and says why."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A line of the table, and the names behind it."""

    what: str
    now: float | str
    most: float | None = None
    least: float | None = None
    names: tuple[str, ...] = ()

    @property
    def wanted(self) -> str:
        if self.most is not None:
            return f"≤ {self.most:,}" if self.most else "0"
        return "" if self.least is None else f"≥ {self.least:,}"

    @property
    def reached(self) -> str:
        if isinstance(self.now, str) or self.most is self.least is None:
            return ""
        within = self.now <= self.most if self.most is not None else self.now >= (self.least or 0)
        return "yes" if within else "no"


def main(*words: str) -> None:
    if words[:1] == ("--follow",):
        print(json.dumps(follow(words[1], Path(words[2]))))
        return
    if unknown := {*words} - {"--quick", "--files"}:
        raise CannotMeasure(f"{' '.join(sorted(unknown))}: there are --quick and --files")
    figures = [*of_modules(), *of_imports(), *of_a_row("--quick" in words), *of_the_page(), of_tests()]
    show(figures, with_names="--files" in words)


def show(figures: Iterable[Figure], with_names: bool) -> None:
    rows = [("what", "now", "wanted", "reached")]
    rows += [(one.what, one.now if isinstance(one.now, str) else f"{one.now:,}", one.wanted, one.reached)
             for one in figures]  # fmt: skip
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    for what, *cells in rows:
        print("  ".join([what.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))]))
    for one in figures:
        if one.names and (with_names or one.most == 0):
            print(f"\n{one.what}", *(f"  {name}" for name in one.names), sep="\n")


# --- what is there


LATER = (HOUSE / "feedback", HOUSE / "release" / "deployment")
"""Rooms that came after what is wanted of the others was said; the whole has figures of its own."""


def of_modules() -> list[Figure]:
    modules = sorted(HOUSE.rglob("*.py"))
    lines = {path: lines_of(path) for path in modules}
    earlier = [path for path in modules if not any(path.is_relative_to(room) for room in LATER)]
    longest = max(modules, key=lambda path: lines[path])
    middle = statistics.median(count for path, count in lines.items() if path.stem != "__init__")
    folders = tuple(sorted({path.relative_to(HOUSE).parts[0] for path in modules if path.parent != HOUSE}))
    times = Counter(path.stem for path in modules if path.stem != "__init__")
    twice = [
        f"{name}: {', '.join(str(path.relative_to(HOUSE)) for path in modules if path.stem == name)}"
        for name, count in sorted(times.items())
        if count > 1
    ]
    return [
        Figure("folders", len(folders), most=9, names=folders),
        Figure("modules", len(modules), most=150),
        Figure("  without feedback and deployment", len(earlier), most=125),
        Figure("their lines", sum(lines.values()), most=20_000),
        Figure("  without feedback and deployment", sum(lines[path] for path in earlier), most=17_500),
        Figure("median lines of a module", middle, least=120),
        Figure("lines of the longest module", lines[longest], most=400, names=(str(longest.relative_to(HOUSE)),)),
        Figure("names that stand twice", len(twice), most=0, names=tuple(twice)),
    ]


def lines_of(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


# --- who imports whom


def of_imports() -> list[Figure]:
    import grimp  # comes with import-linter

    sys.path.insert(0, str(HOUSE.parent))
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: {*graph.find_modules_directly_imported_by(module)} for module in graph.modules}
    floors = floors_of(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8")))
    up = sorted(
        f"{one} imports {other}"
        for one, others in imports.items()
        for other in others
        if is_up(floors, room_of(one), room_of(other))
    )
    circles = sorted(", ".join(sorted(circle)) for circle in circles_of(imports))
    return [
        Figure("imports that run back up", len(up), most=0, names=tuple(up)),
        Figure("circles of modules", len(circles), most=0, names=tuple(circles)),
    ]


def room_of(module: str) -> str:
    return [*module.split("."), ""][1]


def floors_of(project: Mapping[str, Any]) -> dict[str, int]:
    """The floor of each room, as the import linter's contract of layers has them, the highest first."""
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["type"] == "layers" and one["containers"] == [PACKAGE])
    return {room.strip("() "): floor for floor, rooms in enumerate(layers) for room in re.split("[|:]", rooms)}


def is_up(floors: Mapping[str, int], one: str, other: str) -> bool:
    """To a higher floor, or to a neighbour on the same. What is on no floor imports nobody, and nobody it."""
    if one == other or not one or not other:
        return False
    return floors.get(other, -1) <= floors.get(one, len(floors))


def circles_of(imports: Mapping[str, Iterable[str]]) -> list[set[str]]:
    """Modules that lead back to each other: Tarjan's strongly connected components of more than one."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[set[str]] = []

    def visit(one: str) -> None:
        number[one] = lowest[one] = len(number)
        path.append(one)
        for other in imports.get(one, ()):
            if other not in number:
                visit(other)
            if other in path:
                lowest[one] = min(lowest[one], lowest[other])
        if lowest[one] == number[one]:
            circle = {*path[path.index(one) :]}
            del path[path.index(one) :]
            if len(circle) > 1:
                found.append(circle)

    for one in imports:
        if one not in number:
            visit(one)
    return found


# --- which files hold a row


def of_a_row(quick: bool) -> list[Figure]:
    what = "files that hold a row, from CSV to answer"
    if quick:
        return [Figure(what, "not run", most=34)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "a row"
        root.mkdir()
        record = plant(root)
        held = followed("run", root)
        if empty := [side for side, files in held.items() if not files]:
            raise CannotMeasure(f"no file held {' or '.join(empty)}: is it on the other side of the holdout now?")
        held |= {"a row that is asked about": followed("serve", root, record)[ASKED]}
    union = tuple(sorted({file for files in held.values() for file in files}))
    return [
        Figure(what, len(union), most=34, names=union),
        *(Figure(f"  {side}", len(files), names=tuple(files)) for side, files in held.items()),
    ]


def plant(root: Path) -> dict[str, float]:
    """Copy what a run reads, with the values in it. The row that is asked about, as a client sends it."""
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
    names, *rows = (line.split(",") for line in (root / DATA).read_text("utf-8").splitlines())
    table = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
    for side, values in PLANTED.items():
        table[SIDES[side]] |= values
    lines = [names, *(row.values() for row in table.values())]
    (root / DATA).write_text("".join(",".join(line) + "\n" for line in lines), "utf-8")
    asked = [*table[SIDES[ASKED]].items()][1:-1]  # neither the id nor the target
    return {name: float(value) if "." in value else int(value) for name, value in asked}


def followed(command: str, root: Path, record: dict[str, float] | None = None) -> dict[str, list[str]]:
    """The files of the kit that held each row, in a process that gives this command."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KIT_", "MLFLOW_"))}
    (root / "record.json").write_text(json.dumps(record))
    done = subprocess.run(
        [sys.executable, __file__, "--follow", command, str(root)],
        cwd=root, env=clean | ENVIRON, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise CannotMeasure(f"following a row through `starterkit {command}` failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def follow(command: str, root: Path) -> dict[str, list[str]]:
    """Give the command in this process, and note who holds which row."""
    watch = Watch({side: Row([*values.values()]) for side, values in PLANTED.items()})
    words = [command]
    if command == "serve":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words += ["--port", str(port)]
        record = json.loads((root / "record.json").read_text())
        threading.Thread(target=ask_and_end, args=(port, record), daemon=True).start()
    sys.argv = [PACKAGE, *words]
    sys.path.insert(0, str(HOUSE.parent))
    from starterkit.cli import main as command_line

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            command_line()
        code = 0
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    if code not in (0, None, 128 + signal.SIGTERM):
        raise CannotMeasure(f"`starterkit {command}` ended with {code}")
    return {side: sorted(files) for side, files in watch.found.items()}


def ask_and_end(port: int, record: object) -> None:
    """Wait for the API of this very process, send it the row, and end it as an operator does."""
    sys.setprofile(None)  # this is the client
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS_TO_START
    body = json.dumps({"records": [record]}).encode()
    try:
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                urlopen(f"{address}/health/ready", timeout=1).close()
                break
            time.sleep(0.2)
        asked = Request(f"{address}/predict", body, {"content-type": "application/json"})
        urlopen(asked, timeout=30).close()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


class Watch:
    """A profile function: the files of the kit in which a call held a row."""

    MOST_CALLS = 3_000  # of one function: later ones do what the earlier ones did

    def __init__(self, rows: dict[str, Row]) -> None:
        self.found: dict[str, set[str]] = {name: set() for name in rows}
        self._rows = rows
        self._files: dict[CodeType, str] = {}
        self._calls: Counter[CodeType] = Counter()
        self._mine = threading.local()

    def __call__(self, frame: FrameType, event: str, given: object) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        file = self._files.get(code)
        if file is None:
            file = self._files[code] = self._file(code)
        if not file or self._calls[code] > self.MOST_CALLS or getattr(self._mine, "busy", False):
            return
        self._mine.busy = True  # what looking calls is not looked at
        try:
            for name, row in self._rows.items():
                if file not in self.found[name]:
                    self._calls[code] += 1
                    if row.is_in([*frame.f_locals.values(), given]):
                        self.found[name].add(file)
        finally:
            self._mine.busy = False

    def _file(self, code: CodeType) -> str:
        if code.co_name == "<module>" or not code.co_filename.startswith(f"{HOUSE}{os.sep}"):
            return ""
        return str(Path(code.co_filename).relative_to(HOUSE))


class Row:
    """A row's values, given as their texts, and what holds one: a frame, an array, a container, a dataclass, a text."""

    MOST_ITEMS = 5_000
    DEPTH = 6

    def __init__(self, values: list[str]) -> None:
        self._texts = values
        self._numbers = [float(value) for value in values]
        self._bytes = [value.encode() for value in values] + [struct.pack("<d", number) for number in self._numbers]

    def is_in(self, value: Any, depth: int = DEPTH) -> bool:
        kind = type(value)
        if value is None or depth == 0:
            return False
        if issubclass(kind, float):
            return value in self._numbers
        if issubclass(kind, str):
            return any(text in value for text in self._texts)
        if issubclass(kind, bytes | bytearray | memoryview):
            return any(one in bytes(value) for one in self._bytes)
        if issubclass(kind, dict):
            return self._is_in_one(value.values(), depth) or self._is_in_one(value, depth)
        if issubclass(kind, list | tuple | set | frozenset):
            return self._is_in_one(value, depth)
        if dataclasses.is_dataclass(kind):
            return self._is_in_one([getattr(value, field.name, None) for field in dataclasses.fields(kind)], depth)
        if hasattr(kind, "model_fields"):  # pydantic's
            return self._is_in_one(vars(value).values(), depth)
        return self._is_in_table(value, kind.__module__.partition(".")[0], depth)

    def _is_in_one(self, values: Iterable[Any], depth: int) -> bool:
        return any(self.is_in(one, depth - 1) for one in itertools.islice(values, self.MOST_ITEMS))

    def _is_in_table(self, value: Any, library: str, depth: int) -> bool:
        """A frame, a column or an array: of pandas, of Arrow, of numpy."""
        if library == "pandas":
            import pandas as pd

            if isinstance(value, pd.DataFrame):
                return any(self._is_in_table(column, library, depth) for _, column in value.items())
            if isinstance(value, pd.Series | pd.Index) and not isinstance(value, pd.MultiIndex):
                return bool(value.isin([*self._numbers, *self._texts]).any())
        if library == "pyarrow" and hasattr(value, "to_pylist"):
            return value.nbytes < 10_000_000 and self.is_in(value.to_pylist(), depth)
        if library == "numpy":
            import numpy as np

            array = np.asarray(value)
            if array.dtype.kind == "f":
                return bool(np.isin(array, np.array(self._numbers).astype(array.dtype)).any())
            if array.dtype.kind in "OUT" and array.size < self.MOST_ITEMS * 20:
                return self._is_in_one(array.ravel().tolist(), depth)
        return False


# --- what is to be read


def of_the_page() -> list[Figure]:
    what, lines = "files of the afternoon's path", "  their lines"
    if not PAGE.is_file():
        return [Figure(what, "no page yet", most=30), Figure(lines, "no page yet", most=5_000)]
    names = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGE.read_text("utf-8"))
    paths = dict.fromkeys(path for name in names if (path := (PAGE.parent / name).resolve()).is_file())
    files = tuple(f"{lines_of(path):5,}  {path.relative_to(ROOT)}" for path in paths)
    return [
        Figure(what, len(paths), most=30, names=files),
        Figure(lines, sum(map(lines_of, paths)), most=5_000),
    ]


def of_tests() -> Figure:
    return Figure("lines of tests", sum(map(lines_of, (ROOT / "tests").rglob("*.py"))), most=22_000)


def run(command: Callable[..., None], *words: str) -> None:
    try:
        command(*words)
    except CannotMeasure as error:
        print(f"measure: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run(main, *sys.argv[1:])
