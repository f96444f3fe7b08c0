"""All files change, or none does."""

from pathlib import Path

import pytest

from starterkit.cli.init.project import replace_all


def files(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b", "gone"):
        (tmp_path / name).write_text(f"old {name}")
    return tmp_path


def test_all_is_written_and_what_was_asked_for_is_kept(root: Path) -> None:
    (root / "given").write_text("copied")
    written = {root / "a": b"new a", root / "b": b"new b", root / "deep" / "c": root / "given"}
    replace_all(written, [root / "gone"], [root / "a", root / "gone"])
    assert files(root) == {
        "a": "new a",
        "a.before": "old a",
        "b": "new b",
        "deep/c": "copied",
        "given": "copied",
        "gone.before": "old gone",
    }
