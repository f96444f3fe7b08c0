"""conda.yaml as MLflow reads it. Conda itself is not run: pip's part is installed, and the steps run in that."""

from collections.abc import Callable
from pathlib import Path

from mlflow.utils.environment import _PythonEnv

from conftest import REPOSITORY, run


def test_what_pip_installs_of_it_runs_the_projects_steps(
    environment: Callable[..., Path], tmp_path: Path, copied: Callable[..., Path], project: Path
):
    read = _PythonEnv.from_conda_yaml(str(REPOSITORY / "conda.yaml"))
    assert (read.python, read.build_dependencies[0]) == ("3.11", "pip")
    given = REPOSITORY / "build" / "envs" / "conda.txt"  # as conda writes it, and calls pip beside conda.yaml
    given.parent.mkdir(parents=True, exist_ok=True)
    given.write_text("\n".join(read.dependencies))
    bin_ = environment("conda", f"--requirement {given}")
    root = copied(tmp_path / "copy", project / "mlflow.db")  # whose tables are made
    before = (root / "mlflow.db").read_bytes()
    for name in ("conda.yaml", "conda", "src"):
        (root / name).symlink_to(REPOSITORY / name)
    words = ("run", "conda", "-e", "train", "--env-manager", "local")
    run(bin_ / "mlflow", *words, cwd=root, PATH=f"{bin_}:/usr/bin:/bin")
    assert (root / "mlflow.db").read_bytes() != before
