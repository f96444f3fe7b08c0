"""CSV, Parquet and SQL read alike: a table whose text columns are still text."""

import os
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

import pandas as pd
from pandas.errors import DatabaseError

from starterkit.errors import DataError, first_line
from starterkit.problem import Problem, Source
from starterkit.settings import DataSettings

if TYPE_CHECKING:
    from sqlalchemy import URL

# --- What a CSV file is, before it is parsed: its encoding and the sign between its columns, said by name.

_OTHER_KINDS = {
    b"PK\x03\x04": "a ZIP or Excel file",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
    b"SQLite format 3": "a SQLite database",
}
_WIDE = {b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_HEAD = 65_536
_BLOCK = 1 << 20


def require_text(path: Path) -> None:
    """See that a file is UTF-8 text with commas between its columns. A byte-order mark is fine.

    Raises
    ------
    DataError
        It is another kind of file, in another encoding, or has another delimiter.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}", "Repair or replace it") from error
    if not head.strip(b"\xef\xbb\xbf \r\n"):
        raise DataError(f"{path.name} is empty", "Put data there, or name another file")
    for signature, kind in _OTHER_KINDS.items():
        if head.startswith(signature):
            raise DataError(f"{path.name} is {kind} and not CSV", "Export it as CSV, or name a file of the right kind")
    for mark, encoding in _WIDE.items():
        if head.startswith(mark):
            raise DataError(f"{path.name} is {encoding} text", "Save it as UTF-8")
    if b"\x00" in head:
        raise DataError(f"{path.name} holds zero bytes, as UTF-16 text does", "Save it as UTF-8")
    _require_utf8(path)
    header = head.decode("utf-8-sig", "replace").partition("\n")[0]
    for sign, name in _DELIMITERS.items():
        if sign in header and "," not in header:
            raise DataError(f"{path.name} has {name} between its columns", "Save it with commas")


def _require_utf8(path: Path) -> None:
    """The whole file, a block at a time, so that the line of the first wrong byte can be named."""
    with path.open("rb") as file:
        line, rest = 1, b""
        while block := file.read(_BLOCK):
            block = rest + block
            try:
                block.decode("utf-8")
                rest = b""
            except UnicodeDecodeError as error:
                cut_short = error.end == len(block) and error.reason == "unexpected end of data"
                if not cut_short:
                    _refuse(path, line + block.count(b"\n", 0, error.start))
                rest = block[error.start :]
            line += block.count(b"\n", 0, len(block) - len(rest))
        if rest:
            _refuse(path, line)


def _refuse(path: Path, line: int) -> None:
    what = f"{path.name} is not UTF-8 text in line {line}: it may be Latin-1 or Windows-1252"
    raise DataError(what, "Save it as UTF-8")


def open_source(settings: DataSettings, root: Path, problem: Problem) -> Source:
    """The source that the stage's settings name.

    Raises
    ------
    DataError
        The file does not exist, or is of a kind that the kit does not read.
    """
    text = {column.name for column in problem.columns if column.type == "string"}
    if "://" in settings.source:
        password = settings.password.get_secret_value() if settings.password else None
        return SqlQuery(settings.source, settings.query or "", password, root)
    path = root / settings.source
    try:
        there = S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        there = False
    except PermissionError:
        there = True
    if path.is_dir():
        raise DataError(f"data.source '{settings.source}' is a folder", "Name the file in it")
    if not there:
        raise DataError(f"data file '{settings.source}' does not exist", "Put it there or change data.source in config")
    if not os.access(path, os.R_OK):
        raise DataError(f"data file '{settings.source}' may not be read by you", "Give yourself the right to read it")
    if path.suffix == ".csv":
        return CsvFile(path, text)
    if path.suffix == ".parquet":
        return ParquetFile(path)
    raise DataError(f"data.source '{settings.source}' is of no known kind", "Use .csv, .parquet or a database address")


@dataclass(frozen=True)
class CsvFile:
    """A UTF-8 file with one header line and commas. Only an empty field is a missing value."""

    path: Path
    text_columns: Collection[str] = ()

    def read(self, names: Mapping[str, str] | None = None) -> pd.DataFrame:
        names = names or {}
        require_text(self.path)
        renamed = [header for header, name in names.items() if name in self.text_columns]
        text: dict[Hashable, Any] = dict.fromkeys([*self.text_columns, *renamed], "str")
        try:
            # pandas would read the id 007 as 7 and the country NA as missing.
            frame = pd.read_csv(
                self.path,
                dtype=text,
                keep_default_na=False,
                na_values=[""],
                encoding="utf-8-sig",
                low_memory=False,  # else it guesses a type a piece of the file, and warns
            )
        except (OSError, ValueError) as error:  # pandas' parser errors and decoding errors are ValueErrors
            words = first_line(error).removeprefix("Error tokenizing data. C error: ")
            raise DataError(f"{self.path.name} cannot be read: {words}", "Repair or replace it") from error
        if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much for row names
            raise DataError(f"{self.path.name} has rows with more fields than its header", "Repair or replace it")
        return frame.rename(columns=names)


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file."""

    path: Path

    def read(self, names: Mapping[str, str] | None = None) -> pd.DataFrame:
        try:
            return read_parquet(self.path).rename(columns=names or {})
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path.name} cannot be read: {first_line(error)}", "Repair or replace it") from error


def read_parquet(path: Path) -> pd.DataFrame:
    """A file's columns. What pandas wrote as a named index is a column of the file like any other."""
    frame = pd.read_parquet(path)
    return frame if frame.index.names == [None] else frame.reset_index()


@dataclass(frozen=True)
class SqlQuery:
    """The rows that a SELECT gives. The password is kept apart from the address, which may be logged."""

    address: str
    query: str
    password: str | None = None
    root: Path = Path()

    def read(self, names: Mapping[str, str] | None = None) -> pd.DataFrame:
        from sqlalchemy import create_engine, text
        from sqlalchemy.exc import DataError as DBAPIDataError
        from sqlalchemy.exc import IntegrityError, SQLAlchemyError

        hint = "Check the address and data.query"
        try:
            engine = create_engine(self._url())
            with engine.connect() as connection:
                return pd.read_sql_query(text(self.query), connection).rename(columns=names or {})
        except (SQLAlchemyError, DatabaseError, ImportError) as error:
            # pandas and SQLAlchemy repeat the address and the statement, so only the driver's words are shown.
            inner = error.__cause__ if isinstance(error, DatabaseError) and error.__cause__ else error
            # A database that cannot read a value says which.
            repeats = isinstance(inner, (DBAPIDataError, IntegrityError))
            cause = type(inner).__name__ if repeats else first_line(getattr(inner, "orig", None) or inner)
            if isinstance(error, ModuleNotFoundError):  # PostgreSQL's and others' drivers are no part of the kit
                hint = "Add the database's driver, such as `make add PKG=psycopg2-binary` for postgresql+psycopg2://"
            raise DataError(f"data.source cannot be queried: {cause}", hint) from None
        except ValueError:  # repeats a part of the address, which may be the password's
            raise DataError("data.source cannot be queried: the address is malformed", hint) from None

    def _url(self) -> "URL":
        from sqlalchemy import make_url

        url = make_url(self.address)
        if url.get_backend_name() == "sqlite" and url.database:
            file = self.root / url.database
            if not file.is_file():  # SQLite would make an empty one
                raise DataError(f"database file '{url.database}' does not exist", "Put it there or change data.source")
            url = url.set(database=str(file))
        return url.set(password=self.password) if self.password else url
