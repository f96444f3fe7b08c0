"""A standalone cluster of Spark on loopback: one master and two workers of a core each, as processes of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyspark


def until(happens: Callable[[], Any], seconds: int = 300) -> Any:
    for _ in range(seconds * 10):
        if found := happens():
            return found
        time.sleep(0.1)
    raise TimeoutError


@contextmanager
def standalone(folder: Path) -> Iterator[str]:
    """The master's address; logs and the workers' files go to `folder`."""
    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    script = Path(pyspark.__file__).parent / "bin" / "spark-class"
    started = []

    def start(name: str, *arguments: str) -> Path:
        log = folder / f"{len(started)}.log"
        command = [script, f"org.apache.spark.deploy.{name}", "--host", "127.0.0.1", "--port", "0", *arguments]
        with log.open("wb") as file:
            started.append(subprocess.Popen(command, stdout=file, stderr=file))
        return log

    def said(log: Path, words: str) -> str:
        return until(lambda: [line for line in log.read_text().splitlines() if words in line])[0]

    try:
        address = said(start("master.Master", "--webui-port", "0"), "Starting Spark master at").split(" at ")[1]
        more = ("--cores", "1", "--memory", "1g", "--webui-port", "0", "--work-dir", str(folder), address)
        for log in [start("worker.Worker", *more) for _ in range(2)]:
            said(log, "Successfully registered with master")
        yield address
    finally:
        for process in started:
            process.kill()
            process.wait()
