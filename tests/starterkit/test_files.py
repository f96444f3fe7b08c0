"""A scratch folder leaves nothing behind, whenever it is interrupted."""

import stat
from pathlib import Path

import pytest

from starterkit.files import scratch_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("starterkit.files.gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_folder_is_the_users_own_and_goes_away(temporary: Path) -> None:
    with scratch_folder("reproduce") as folder:
        assert folder.parent == temporary.resolve()
        assert folder.name.startswith("starterkit-reproduce-")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "deep" / "down").mkdir(parents=True)
    assert not list(temporary.iterdir())


def test_folder_stays_if_it_is_to_be_kept(temporary: Path) -> None:
    with scratch_folder(keep=True) as folder:
        pass
    assert list(temporary.iterdir()) == [folder]


def test_interrupted_in_the_moment_in_which_it_is_made(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Path.mkdir

    def mkdir_then_interrupted(folder: Path, mode: int) -> None:
        made(folder, mode)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", mkdir_then_interrupted)
    with pytest.raises(KeyboardInterrupt), scratch_folder():
        pass
    assert not list(temporary.iterdir())
