"""Breaks one line at a time of a room of the kit and lists the breaks that no test notices. See docs/mutants.md.

    python tools/mutants.py ROOM            gate, export or settings
    python tools/mutants.py ROOM MODULE     one module of it alone, such as families/trees
    python tools/mutants.py ROOM [MODULE] rest    what survived, timed out, was not reached, or has changed since

mutmut makes the mutants. It works on a copy of the project in .cache, so that no mutant can ever stand in src.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRATCH = ROOT / ".cache" / "mutants"
COPIED = ("src", "tests", "config", "data", "MLproject", "python_env.yaml", "requirements.txt")
KILLED = (1, 3)  # pytest's exit codes: a test failed, or could not be run
PLUGINS = [
    argument
    for plugin in (
        "no:cacheprovider",
        "no:unraisableexception",  # it collects garbage five times: of a mutant's second more than the half
        # Not plugins, but what a first test imports: so the process that forks does it once.
        "onnxruntime", "pandera.backends.pandas.register", "pandera.strategies.pandas_strategies", "pyarrow.parquet",
    )
    for argument in ("-p", plugin)
]  # fmt: skip
BYTECODE = shutil.ignore_patterns("__pycache__")


@dataclass(frozen=True)
class Room:
    """What is broken, and the tests of the same room that have to notice.

    `folder` is below src/starterkit and tests/starterkit. `picked` is as pytest's -k: it leaves slow tests out, for
    each may run hundreds of times.
    """

    folder: str
    picked: str = ""
    modules: tuple[str, ...] = ("*",)
    """Below the room's folder, without the suffix."""


ROOMS = {
    "gate": Room(
        "release/gate",
        picked="not test_planted and not one_time_in_twenty",
    ),
    "export": Room(
        "training/export",
        picked="not killed and (not test_estimators or never_saw)",
        modules=(
            "__init__", "conversion", "families/boosting", "families/encoding", "families/scikit", "families/trees",
            "probe",
        ),
    ),
    "settings": Room("settings"),
}  # fmt: skip


class CannotMutate(Exception):
    """There is nothing to report; the message is one line."""


def main(name: str = "", *parts: str) -> None:
    if name not in ROOMS:
        raise CannotMutate(f"name a room with ROOM=…: {', '.join(ROOMS)}")
    modules = [part for part in parts if part != "rest"]
    for module in modules:
        if not (ROOT / "src" / "starterkit" / ROOMS[name].folder / f"{module}.py").is_file():
            raise CannotMutate(f"{name} has no module {module}: leave ARGS=… out, or say a module or rest")
    scratch = SCRATCH / "-".join([name, *modules]).replace("/", "-")
    if "rest" not in parts:
        copy_project(scratch, name, modules)
    elif (scratch / "mutants").is_dir():
        for folder in ("src", "tests"):
            shutil.copytree(ROOT / folder, scratch / folder, dirs_exist_ok=True, ignore=BYTECODE)
        forget_all_but_the_killed(scratch)
    else:
        raise CannotMutate(f"no earlier run has this rest: make mutants ROOM={name}")
    try_mutants(scratch)
    report(scratch, name)


def copy_project(scratch: Path, name: str, modules: Sequence[str]) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for entry in COPIED:
        source = ROOT / entry
        if source.is_dir():
            shutil.copytree(source, scratch / entry, ignore=BYTECODE)
        else:
            shutil.copy(source, scratch / entry)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (scratch / "pyproject.toml").write_text(project + configuration(name, modules), "utf-8")


def configuration(name: str, modules: Sequence[str] = ()) -> str:
    """mutmut's table in pyproject.toml."""
    room = ROOMS[name]
    values = {
        "source_paths": [f"src/starterkit/{room.folder}"],
        "only_mutate": [f"src/starterkit/{room.folder}/{module}.py" for module in modules or room.modules],
        "also_copy": COPIED,
        # Plain: a failed comparison of long lists would be explained for longer than a mutant may take.
        "pytest_add_cli_args": ["-n0", "--assert=plain", *PLUGINS, "-k", room.picked],
        "pytest_add_cli_args_test_selection": [f"tests/starterkit/{room.folder}"],
        # Threads of ONNX Runtime and OpenMP do not outlive a fork: the process that forks runs no test.
        "process_isolation": "forkserver",
        "timeout_constant": 4.0,  # seconds, to which the tests' own are added
        "timeout_multiplier": 5.0,
    }
    return "\n[tool.mutmut]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def forget_all_but_the_killed(scratch: Path) -> None:
    """Let mutmut take what no test noticed, reached or ended for mutants that were not tried yet."""
    reached = scratch / "mutants" / "mutmut-stats.json"  # which test reaches what: of the tests of then
    reached.unlink(missing_ok=True)
    for path in (scratch / "mutants").rglob("*.meta"):
        found = json.loads(path.read_text("utf-8"))
        codes = found["exit_code_by_key"]
        found["exit_code_by_key"] = {mutant: code if code in KILLED else None for mutant, code in codes.items()}
        path.write_text(json.dumps(found), "utf-8")


def try_mutants(scratch: Path) -> None:
    source = scratch / "mutants" / "src"
    source.mkdir(parents=True, exist_ok=True)  # Python would remember that it was not there when it started
    # Processes that tests start see the mutants too. One thread each: as many mutants at once as there are cores.
    # CI: Hypothesis draws the same examples each time, and remembers no failure of a mutant for the next ones.
    environ = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "CI": "true"}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(os.cpu_count() or 1)]
    with (scratch / "output.txt").open("w") as output:
        answer = subprocess.run(command, cwd=scratch, env=environ, stdout=output, stderr=subprocess.STDOUT)
    if answer.returncode:
        raise CannotMutate(f"mutmut could not finish: see {scratch.relative_to(ROOT) / 'output.txt'}")


def report(scratch: Path, name: str) -> None:
    """Print how many mutants came to which end, and the change of each that no test noticed."""
    os.chdir(scratch)
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files

    ends: Counter[str] = Counter()
    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        for mutant, code in data.exit_code_by_key.items():
            # mutmut calls it a timeout when pytest could not start the tests, such as for an id with a line's end.
            end = "not tried" if code == 255 else status_by_exit_code[code]
            if end != "killed":
                changed = change(get_diff_for_mutant(mutant, path=path))
                if end == "survived" and is_in_words(changed):
                    end = "survived in words alone"
                print(f"{end}: {mutant}", *(f"    {line}" for line in changed), sep="\n")
            ends[end] += 1
    counts = ", ".join(f"{count} {end}" for end, count in ends.most_common())
    print(f"{name}: {ends.total()} mutants: {counts}")


def change(diff: str) -> list[str]:
    """The lines that were taken out and put in, without those around them."""
    return [line for line in diff.splitlines()[2:] if line.startswith(("-", "+"))]


def is_in_words(changed: list[str]) -> bool:
    """Whether only words for people were changed, by their case or by two X at both ends.

    A text without a space may be a key or a name, and is not taken for words.
    """
    before, after = ("".join(line[1:] for line in changed if line.startswith(sign)) for sign in "-+")
    marked = re.search("XX(.*)XX", after)
    if marked and after.replace(marked[0], marked[1]) == before:
        return " " in marked[1]
    if before.casefold() != after.casefold():
        return False
    places = [place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    start, end = (before.rfind('"', 0, places[0]), before.find('"', places[-1]))
    return " " in before[start:end]


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except CannotMutate as error:
        print(error, file=sys.stderr)
        sys.exit(1)
