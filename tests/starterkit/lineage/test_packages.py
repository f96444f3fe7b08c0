"""An environment held against a lock."""

from importlib.metadata import version
from pathlib import Path

import pytest

from starterkit.lineage.packages import off_lock

NUMPY = version("numpy")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"numpy=={NUMPY} \\\n    --hash=sha256:00\n    # via pandas\n", {}),
        (f"NumPy=={NUMPY}\nnot_there==1\n", {"not-there": "not there"}),
        ("numpy==0.1\n", {"numpy": NUMPY}),
        (f"numpy==0.1 ; python_full_version < '3.2'\nnumpy=={NUMPY} ; python_full_version >= '3.2'\n", {}),
        ("numpy==0.1 ; sys_platform == 'win32'\n", {"numpy": NUMPY}),
        ("not-there==1 ; sys_platform == 'win32'\n", {}),
        ("# numpy==0.1\n", {}),
    ],
)
def test_what_is_installed_is_held_against_the_lock(tmp_path: Path, text: str, found: dict[str, str]) -> None:
    (tmp_path / "lock.txt").write_text(text)
    assert off_lock(tmp_path / "lock.txt") == found


def test_this_environment_holds_the_lock() -> None:
    assert off_lock(Path(__file__).parents[3] / "requirements.txt") == {}
