"""`Cluster`: Spark, asked to do something for each of n numbers. What does not fit is named before any work."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

import pyarrow as pa

from starterkit import errors
from starterkit.errors import KitError, UserError, first_line
from starterkit.progress import Note, Progress, step

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# --- What has to be there.

_OLDEST_SPARK, _OLDEST_JAVA = 4, 17
_SAME = ("mlflow-starter-kit", "numpy", "onnxruntime", "pyarrow")
"""Packages that decide about the last digit of an answer and how it is written: the same everywhere."""


def require_spark() -> None:
    """See that Spark can be started here.

    Raises
    ------
    UserError
        pyspark or Java is missing or too old, or pandas or pyarrow do not fit it.
    """
    try:
        import pyspark
        from pyspark.sql.pandas import utils
    except ModuleNotFoundError:
        hint = "Install pyspark 4, as docs/spark.md says, or leave out --engine spark"
        raise UserError("Spark's Python package is not installed", hint) from None
    found = str(pyspark.__version__)
    if int(found.split(".")[0]) < _OLDEST_SPARK:
        hint = f"Install pyspark {_OLDEST_SPARK} or newer, as the cluster has it"
        raise UserError(f"pyspark {found} does not fit pandas {version('pandas')}", hint)
    try:
        with catch_warnings(action="ignore"):
            utils.require_minimum_pandas_version()
        utils.require_minimum_pyarrow_version()
    except ImportError as error:
        what = re.sub(r"^\[\w+\] ", "", first_line(error))
        raise UserError(f"pyspark {found} does not fit: {what}", "Install versions that fit each other") from None
    _require_java(found)


def _require_java(spark: str) -> None:
    home = os.environ.get("JAVA_HOME", "")
    java = shutil.which(str(Path(home) / "bin" / "java") if home else "java")
    hint = f"Install Java {_OLDEST_JAVA} or newer, such as openjdk-{_OLDEST_JAVA}-jre-headless, or set JAVA_HOME to one"
    if java is None:
        raise UserError(f"Spark needs Java, and there is none{f' in JAVA_HOME={home}' if home else ''}", hint)
    said = subprocess.run([java, "-version"], stderr=subprocess.PIPE, text=True, check=False).stderr  # noqa: S603
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if not found or int(found[1]) < _OLDEST_JAVA:
        raise UserError(f"Java {found[1] if found else 'of no known version'} is too old for Spark {spark}", hint)


def _versions(_number: int = 0) -> dict[str, str]:
    """Here, whether on the driver or in an executor."""
    here = {"Python": "{}.{}".format(*sys.version_info[:2])}
    for name in _SAME:
        try:
            here[name] = version(name)
        except PackageNotFoundError:
            here[name] = "none"
    return here


# --- The cluster.

_TASKS_A_CORE, _PIECES_A_TASK = 4, 2
"""A task costs a tenth of a second of its own, and the last ones should end together."""


class Cluster:
    """A Spark session that does something for each of n numbers, by `mapInArrow`."""

    def __init__(self, spark: "SparkSession") -> None:
        self._spark = spark
        self.cores = spark.sparkContext.defaultParallelism

    def require_same(self) -> None:
        """See that executors have what decides about an answer.

        Raises
        ------
        UserError
            One has another version.
        """
        here = _versions()
        for there in self.run(_versions, range(self.cores)):
            for name, found in here.items():
                if there[name] != found:
                    hint = "Give the executors the driver's environment: PYSPARK_PYTHON, or spark.archives"
                    raise UserError(f"the executors have {name} {there[name]}, the driver has {found}", hint)

    def run(
        self, work: Callable[..., Any], numbers: Sequence[int], note: Note | None = None, given: Any = None
    ) -> list[Any]:
        """What `work` says of each number, in order. What is `given` each executor gets once, and `work` gets first.

        Raises
        ------
        KitError
            What the work raised first, or why Spark gave up.
        """
        if not numbers:
            return []
        shared = None if given is None else self._spark.sparkContext.broadcast((given, tuple(numbers)))
        each = partial(_each, work, shared)
        tasks = min(_TASKS_A_CORE * self.cores, max(len(numbers) // _PIECES_A_TASK, self.cores), len(numbers))
        rows = self._spark.range(0, len(numbers), 1, tasks).mapInArrow(each, "said string")
        with ThreadPoolExecutor(1) as waiting:
            done = waiting.submit(rows.collect)
            try:
                self._watch(done, tasks, note)
                answers = [json.loads(row.said) for row in done.result()]
            except BaseException as error:
                self._spark.sparkContext.cancelAllJobs()
                if isinstance(error, Exception):
                    raise _gave_up(error) from error
                raise
        if failed := [answer for answer in answers if "what" in answer]:
            raise getattr(errors, failed[0]["kind"])(failed[0]["what"], failed[0]["hint"])
        return [answer["said"] for answer in answers]

    def _watch(self, done: Any, count: int, note: Note | None) -> None:
        tracker = self._spark.sparkContext.statusTracker()
        while not wait([done], timeout=0.5).done:
            stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            ended = sum(stage.numCompletedTasks for stage in stages if stage)
            if note and ended:
                note.go_on(f"{ended:,} of {count:,} tasks", ended / count)


def _each(work: Callable[..., Any], shared: Any, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What `mapInArrow` calls in an executor. A failure that the kit foresaw is said, and is none of the task's."""
    for batch in batches:
        said = []
        for place in batch.column(0).to_pylist():
            try:
                done = work(place) if shared is None else work(shared.value[0], shared.value[1][place])
                said.append(json.dumps({"said": done}))
            except KitError as error:
                kind = type(error).__name__ if hasattr(errors, type(error).__name__) else "KitError"
                said.append(json.dumps({"kind": kind, "what": error.what, "hint": error.hint}))
        yield pa.RecordBatch.from_arrays([pa.array(said, pa.string())], ["said"])


def _gave_up(error: Exception) -> KitError:
    """Spark's many lines in one."""
    text = str(error)
    if lacks := re.search(r"ModuleNotFoundError: No module named '(\w+)", text):
        hint = "Give the executors the driver's environment: PYSPARK_PYTHON, or spark.archives"
        return UserError(f"the executors' Python has no {lacks[1]}", hint)
    causes = re.findall(
        r"^(?:Caused by: )?(\w*Error: .*|.*Lost task .*|.*PYTHON_VERSION_MISMATCH.*)$", text, re.MULTILINE
    )
    reason = (causes or [first_line(error)])[-1].strip()
    return KitError(f"Spark gave up: {reason[:300]}", "Mend it, and give the command again: it goes on where it ended")


_asked: set[str] = set()
"""The sessions whose executors have what is needed: a notebook's scores many folders."""


@contextmanager
def cluster(master: str, progress: Progress) -> Generator[Cluster, None, None]:
    """A session on a cluster that fits, for as long as it is needed; one that there is already stays.

    Raises
    ------
    KitError
        Spark cannot be started, or does not fit.
    """
    require_spark()
    with step(progress, "start Spark") as note:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        from pyspark.sql import SparkSession

        earlier = SparkSession.getActiveSession()  # a notebook's, which it goes on with
        builder = SparkSession.builder.master(master).appName("starterkit predict")
        for name, value in _SETTINGS.items():
            builder = builder.config(name, value)
        filterwarnings("ignore", "PySpark does not yet fully support pandas")  # of which nothing here is used
        try:
            with _quiet():
                spark = builder.getOrCreate()
        except Exception as error:  # py4j's and Spark's share no other base class
            hint = "Name a master that runs, of this version of Spark: spark://host:7077, local[*]"
            raise UserError(f"no Spark {version('pyspark')} at {master}: {first_line(error)[:300]}", hint) from error
        try:
            made = Cluster(spark)
            if (session := spark.sparkContext.applicationId) not in _asked:
                made.require_same()
                _asked.add(session)
            note.text = f"{spark.version} at {master}, {made.cores} cores"
        except BaseException:
            if earlier is None:
                spark.stop()
            raise
    try:
        yield made
    finally:
        if earlier is None:
            spark.stop()


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Java is started with its words going nowhere: it says in many lines what is raised here in one."""
    ours = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(ours, 2)
        os.close(ours)


_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.executorEnv.ORT_DISABLE_TELEMETRY": "1",
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
}
"""Ours shows how far it is, and the first question is to all executors."""
