"""What happens in the middle of a run: Ctrl-C, `kill`, `kill -9`, a disk that fills up, a second run."""

import re
import shutil
import signal
from itertools import product
from pathlib import Path

import pytest
from scratch import Outcome, Scratch, State, copied, fill, interrupt, kill, terminate

from conftest import Tell

REPOSITORY = Path(__file__).parents[2]
STEPS = ("", "load libraries", "read data", "connect to MLflow", "train", "export to ONNX", "register", "ask the gate")
"""The line after which something happens; the first is before any."""
LONG = '{"n_estimators": 20000}'
"""A training that goes on for longer than a signal is under way."""
WAYS = {"Ctrl-C": (interrupt, 130), "kill": (terminate, 143), "kill -9": (kill, -9)}


@pytest.mark.parametrize(("way", "after"), [("kill", "connect to MLflow"), *product(("Ctrl-C", "kill -9"), STEPS)])
def test_interrupted(way, after, fresh, tell):
    meet_interruption(way, after, fresh, tell)


@pytest.mark.parametrize(("after", "inside"), [("connect to MLflow", "train"), ("train", "export")])
@pytest.mark.parametrize("way", ["Ctrl-C", "kill -9"])
def test_interrupted_with_an_open_run(way, after, inside, fresh, tell):
    if inside == "train":
        fresh.environ["KIT_TRAINING__PARAMS"] = LONG
    left = meet_interruption(way, after, fresh, tell, inside)
    end = "RUNNING" if way == "kill -9" else "FAILED" if inside == "train" else "FINISHED"
    assert left.runs == {end: 1}


def meet_interruption(way: str, after: str, fresh: Scratch, tell: Tell, inside: str = "") -> State:
    act, _ = WAYS[way]
    before = fresh.everything()
    outcome = fresh.interrupted(after, act, run_is_open=bool(inside), pause=1 if inside == "train" else 0)
    fresh.environ.clear()
    moment = f"inside {inside}" if inside else f"after '{after or 'the start'}'"
    said = "nothing, it was killed" if way == "kill -9" else outcome.line
    left = fresh.state()
    if fresh.everything() == before:  # as if nobody had given the command, and that is met elsewhere
        tell(f"{way} {moment}", outcome.code, said, left, "nothing was written", "nothing to find")
        require_stopped(way, outcome)
        return left
    doctor = fresh.run("doctor")
    untouched = fresh.state() == left
    following = fresh.run("run")
    state = fresh.state()
    dead, unfinished = left.runs.get("RUNNING", 0), not left.aliases and left.versions > 0
    named = [one for one in ("killed half-way", "never judged", "did not become champion") if one in doctor.stdout]
    next_run = "works" if not following.code else following.line
    tell(f"{way} {moment}", outcome.code, said, left, next_run, "; ".join(named) or "finds nothing")
    if outcome.code == 0 and after == STEPS[-1]:  # the last step is shorter than the way of a signal
        assert left.aliases
        return left
    require_stopped(way, outcome)
    assert left.faults == ()
    assert way == "kill -9" or (left.stray == () and not dead), left
    assert untouched
    assert doctor.code == 0, doctor.stdout
    assert ("killed half-way" in named) == bool(dead)
    assert bool({"never judged", "did not become champion"} & set(named)) == unfinished
    assert (following.code, following.untidy) == (0, ""), following.stderr
    assert ("was killed half-way" in following.stderr) == bool(dead)
    assert state.faults == ()
    assert "RUNNING" not in state.runs
    assert state.aliases == {"champion": state.versions}
    assert [name for name in state.stray if "TMPDIR" not in name] == []
    return left


def require_stopped(way: str, outcome: Outcome) -> None:
    """It ended by the signal, and said so where it could."""
    # Interrupted inside of code that a C extension runs, Python ends itself by the signal; a shell calls that 130, too.
    code = 130 if outcome.code == -signal.SIGINT else outcome.code
    assert (code, outcome.untidy) == (WAYS[way][1], ""), outcome.stderr
    assert way == "kill -9" or "Stopped. Finished steps are kept" in outcome.line


def test_disk_full_from_the_start(small_disk, untouched, tell):
    fresh = copied(untouched, small_disk(40) / "repository")
    filler = fresh.root.parent / "filler"
    fill(filler)
    meet_full_disk("disk full from the start", fresh, fresh.run("run"), filler, tell)


@pytest.mark.parametrize("after", STEPS[2:7])
def test_disk_full_in_the_middle(after, small_disk, untouched, tmp_path, tell):
    fresh = copied(untouched, small_disk(40) / "repository")
    fresh.temporary = tmp_path  # only the repository's disk is full
    filler = fresh.root.parent / "filler"
    outcome = fresh.interrupted(after, lambda process: fill(filler))
    meet_full_disk(f"disk full after '{after}'", fresh, outcome, filler, tell)


def test_disk_of_scratch_files_full(scratch, small_disk, tell):
    scratch.temporary = small_disk(40)
    filler = scratch.temporary / "filler"
    outcome = scratch.interrupted("connect to MLflow", lambda process: fill(filler))
    meet_full_disk("disk of scratch files full after 'connect to MLflow'", scratch, outcome, filler, tell)


def test_disk_of_scratch_files_small(scratch, small_disk, tell):
    usual, scratch.temporary = scratch.temporary, small_disk(1)
    outcome, doctor = scratch.run("run"), scratch.run("doctor")
    scratch.temporary = usual
    following = scratch.run("run")
    told = next((line.strip() for line in doctor.stdout.splitlines() if "fails" in line), "finds nothing")
    tell("disk of scratch files with 1 MB", outcome.code, outcome.line, scratch.state(), following.code, told)
    assert (outcome.code, outcome.untidy) == (1, ""), outcome.stderr
    assert re.search(r"is full: .* MB are free, a run needs 20. Free space", outcome.line)
    assert "scratch files" in told
    assert following.code == 0


def meet_full_disk(done: str, fresh: Scratch, outcome: Outcome, filler: Path, tell: Tell) -> None:
    left = fresh.state()
    doctor = fresh.run("doctor")
    filler.unlink(missing_ok=True)
    following = fresh.run("run")
    state = fresh.state()
    tell(done, outcome.code, outcome.line, left, "works" if not following.code else following.line,
         next((line.strip() for line in doctor.stdout.splitlines() if "fails" in line), "finds nothing"))  # fmt: skip
    assert (outcome.code, outcome.untidy) == (1, ""), outcome.stderr
    assert re.search(r"full|No space left", outcome.line), outcome.line
    assert re.search(r"Free space", outcome.line)
    assert left.faults == ()
    assert not [name for name in left.stray if name.startswith("mlflow.db.")], left
    assert re.search(r"fails\s+disk", doctor.stdout), doctor.stdout
    assert "Traceback" not in doctor.stderr
    assert (following.code, following.untidy) == (0, ""), following.stderr
    assert state.faults == ()
    assert "RUNNING" not in state.runs
    assert state.aliases == {"champion": state.versions}


@pytest.mark.parametrize("which", ["fresh", "scratch"])
def test_two_runs_at_once(which, request, tell):
    scratch: Scratch = request.getfixturevalue(which)
    had = scratch.state().versions
    running = [scratch.start("run") for _ in range(2)]
    both = [Outcome(process.wait(), *process.communicate()) for process in running]
    state = scratch.state()
    following = scratch.run("run")
    tell(f"two runs at once, {'no' if not had else 'one'} version before", [one.code for one in both], both[-1].line,
         state, "works" if not following.code else following.line, "")  # fmt: skip
    assert [(one.code, one.untidy) for one in both] == [(0, "")] * 2, both[0].stderr + both[1].stderr
    assert state.faults == ()
    assert state.stray == ()
    assert state.versions == had + 2
    assert "RUNNING" not in state.runs
    assert following.code == 0


def test_run_that_works_is_not_taken_for_dead(scratch, tell):
    """A second run, and doctor, while the first one is in the middle of its work."""
    process = scratch.start("train")
    for line in process.stderr:
        if "connect to MLflow" in line:
            break
    while "RUNNING" not in scratch.state().runs:
        assert process.poll() is None
    process.send_signal(19)  # SIGSTOP: it lives, and does nothing
    try:
        doctor, second = scratch.run("doctor"), scratch.run("run")
        state = scratch.state()
    finally:
        process.send_signal(18)
    process.communicate()
    tell("a run beside one that is stopped by SIGSTOP", second.code, second.line, state, "the same", "1 at work now")
    assert "1 at work now" in doctor.stdout
    assert second.code == 0, second.stderr
    assert state.runs["RUNNING"] == 1
    assert process.returncode == 0
    assert scratch.state().runs["FINISHED"] == 3


def test_disk_full_while_the_environment_is_made(small_disk, tell):
    root = small_disk(30)
    for name in ("requirements.txt", "requirements-test.txt", "requirements-uv.txt", "pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, root)
    shutil.copytree(REPOSITORY / "tools", root / "tools")
    scratch = Scratch(root / "here")
    scratch.root = root
    outcome = scratch.run(command=["python3", "tools/environment.py", ".venv"])
    tell("disk full while the environment is made", outcome.code, outcome.line, "no environment", "", "")
    assert outcome.code == 1
    assert re.search(r"is full, \d+ MB are free.*free that much", outcome.line), outcome.stderr
    assert "Traceback" not in outcome.stderr
