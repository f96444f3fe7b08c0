"""Which files are read and written, and every reason against it that can be seen without reading them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from starterkit.errors import DataError

Kind = Literal["csv", "parquet", "arrow file", "arrow stream"]
BadRows = Literal["stop", "aside"]

KINDS: Mapping[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow file",
    ".feather": "arrow file",
    ".arrows": "arrow stream",
}
_PACKED = ".gz"
_KNOWN = "Name a file that ends in " + ", ".join([*KINDS][:-1]) + f" or {[*KINDS][-1]}"


@dataclass(frozen=True)
class Plan:
    """A file to a file, or each file of a folder to one of the same name in another.

    Attributes
    ----------
    sources
        The files to read, in the order of their names.
    names
        What the file made of each of them is called.
    destination
        The file, or the folder, that appears when all rows are scored.
    overwrite
        Whether a destination that exists is replaced.
    """

    sources: tuple[Path, ...]
    names: tuple[str, ...]
    destination: Path
    is_folder: bool
    overwrite: bool = False

    @property
    def bad_rows(self) -> Path:
        """Where the reasons go why some rows could not be scored."""
        return self.destination.with_name(f"{self.destination.stem}.bad.csv")

    def refuse_what_exists(self) -> None:
        """See that nothing is replaced that should stay.

        Raises
        ------
        DataError
            The destination exists and may not be replaced, or is something else than what would replace it.
        """
        for path in (self.destination, self.bad_rows):
            if path.exists() and not self.overwrite:
                raise DataError(f"{path} exists already", "Add --overwrite, or name another destination")
        if self.destination.exists() and self.destination.is_dir() != self.is_folder:
            kind = "file" if self.is_folder else "folder"
            raise DataError(f"{self.destination} is a {kind}", "Name another destination")
        if self.is_folder and self.destination.is_dir():
            others = sorted({path.name for path in self.destination.iterdir()} - set(self.names))
            if others:
                what = f"{self.destination} holds something else: '{others[0]}'"
                raise DataError(what, "Name a new folder")


def plan_files(source: Path, destination: Path, *, overwrite: bool = False) -> Plan:
    """Pair files with the ones to be made of them.

    Raises
    ------
    DataError
        A name or a suffix is wrong, or a file is missing, empty or in the way.
    """
    if not source.exists():
        raise DataError(f"{source} does not exist", "Name another file or folder")
    if not destination.absolute().parent.is_dir():
        raise DataError(f"the folder of {destination} does not exist", "Make it, or name another")
    plan = (
        _plan_folder(source, destination, overwrite) if source.is_dir() else _plan_file(source, destination, overwrite)
    )
    read = {path.resolve() for path in plan.sources}
    if destination.resolve() in read | {source.resolve()}:
        raise DataError("source and destination are the same", "Name another destination")
    if plan.bad_rows.resolve() in read:
        raise DataError(f"{plan.bad_rows} would be overwritten with bad rows", "Name another destination")
    for path in plan.sources:
        if not path.is_file():
            raise DataError(f"{path} leads to no file", "Mend the link, or take it out of the folder")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty", "Name another file, or take it out of the folder")
    return plan


def kind_of(path: Path) -> Kind:
    """What a file's suffix says that it is. A CSV file may be compressed."""
    name = path.name.lower()
    packed = name.endswith(_PACKED)
    kind = KINDS.get(Path(name.removesuffix(_PACKED)).suffix)
    if kind is None or (packed and kind != "csv"):
        raise DataError(f"{path} is of no known kind", _KNOWN)
    return kind


def is_packed(path: Path) -> bool:
    """Whether a file of that name is compressed."""
    return path.name.lower().endswith(_PACKED)


def _plan_file(source: Path, destination: Path, overwrite: bool) -> Plan:
    kind_of(source)
    if destination.is_dir():
        raise DataError(f"{destination} is a folder, and {source} a file", "Name the file to write")
    kind_of(destination)
    return Plan((source,), (destination.name,), destination, is_folder=False, overwrite=overwrite)


def _plan_folder(source: Path, destination: Path, overwrite: bool) -> Plan:
    if Path(destination.name.lower().removesuffix(_PACKED)).suffix in KINDS and not destination.is_dir():
        raise DataError(f"{source} is a folder, and {destination} a file", "Name a folder to write to")
    if source.resolve() in destination.resolve().parents:
        raise DataError(f"{destination} is inside {source}", "Name a folder elsewhere")
    # Other programs leave marks such as _SUCCESS and .part-0.crc in folders of data.
    found = sorted(path for path in source.iterdir() if not path.name.startswith((".", "_")))
    for path in found:
        if path.is_dir():
            raise DataError(f"{source} holds the folder '{path.name}'", "Score each folder by itself")
    kinds = {kind_of(path): path for path in found}
    if not kinds:
        raise DataError(f"{source} holds no files", f"{_KNOWN}, or a folder of such files")
    if len(kinds) > 1:
        names = " and ".join(f"'{path.name}'" for path in list(kinds.values())[:2])
        raise DataError(f"{source} holds files of several kinds: {names}", "Keep one kind in a folder")
    return Plan(tuple(found), tuple(path.name for path in found), destination, is_folder=True, overwrite=overwrite)
