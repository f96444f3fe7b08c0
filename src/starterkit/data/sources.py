"""CSV, Parquet and SQL read alike: a table whose text columns are still text."""

import codecs
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api import types
from pandas.errors import DatabaseError

from starterkit.contract import AS_DECLARED, Column, Dialect, Written
from starterkit.data.checking import as_text, convert, typed
from starterkit.errors import DataError, first_line
from starterkit.problem import Problem, Source
from starterkit.serving.dialect import UTF8, find_dialect, is_compressed, opened, unread
from starterkit.serving.parsing import (
    NOT_AS_DECLARED,
    as_array,
    as_found,
    find_columns,
    numbers_for_missing,
    plain_texts,
)
from starterkit.settings import DataSettings, DialectSettings

if TYPE_CHECKING:
    from sqlalchemy import URL

# --- A text file that is not in its encoding throughout, with the line of the first wrong byte.

_BLOCK = 1 << 20


def require_utf8(path: Path) -> None:
    """A block at a time, so that the line of the first wrong byte can be named.

    Raises
    ------
    DataError
        The file is damaged, or in several encodings.
    """
    line, decoder = 1, codecs.getincrementaldecoder("utf-8")()
    with unread(path.name), opened(path) as file:
        try:
            while block := file.read(_BLOCK):
                decoder.decode(block)
                line += block.count(b"\n")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            line += error.object.count(b"\n", 0, error.start)
            what = f"{path.name} is UTF-8 text but for a damaged place in line {line}"
            raise DataError(what, "Repair it, or save it as UTF-8 throughout") from None


# --- Where the stage's data is.


def open_source(settings: DataSettings, root: Path, problem: Problem) -> Source:
    """The source that the stage's settings name.

    Raises
    ------
    DataError
        The file does not exist, or is of a kind that the kit does not read.
    """
    if "://" in settings.source:
        password = settings.password.get_secret_value() if settings.password else None
        return SqlQuery(settings.source, settings.query or "", password, root, problem.columns)
    path = root / settings.source
    try:
        there = path.is_file() or path.is_dir()
    except PermissionError:  # of a folder above it
        there = True
    if not there:
        raise DataError(f"data file '{settings.source}' does not exist", "Put it there or change data.source in config")
    if not os.access(path, os.R_OK):
        raise DataError(f"data file '{settings.source}' may not be read by you", "Give yourself the right to read it")
    if is_text_file(path):
        return CsvFile(path, problem.columns, settings.dialect)
    return ParquetFile(path, problem.columns)


def is_text_file(path: Path) -> bool:
    """Whether a path is a CSV file by its name, and no Parquet file or a folder of such.

    Raises
    ------
    DataError
        It is of another kind.
    """
    name = path.name.lower().removesuffix(".gz")
    if path.is_dir():
        if not any(one.suffix.lower() == ".parquet" for one in path.rglob("*")):
            raise DataError(f"data.source '{path.name}' is a folder without Parquet files", "Name the file in it")
        return False
    if name.endswith((".csv", ".tsv")):
        return True
    if name.endswith(".parquet"):
        return False
    hint = "Use .csv, .tsv, .csv.gz, .parquet, a folder of Parquet files or a database address"
    raise DataError(f"'{path.name}' is a data file of no known kind", hint)


# --- The rows that a source gives: what the schema declares of a file's columns is undone.


def as_schema(columns: Sequence[Column], frame: pd.DataFrame) -> pd.DataFrame:
    """The columns under the schema's names, and what their `Written` declares in the schema's values.

    A column of which the schema declares nothing stays as it was read.
    """
    found = find_columns(columns, list(map(str, frame.columns)))
    frame = frame.rename(columns={header: name for name, header in found.items()})
    changed = {
        column.name: _in_schema(column, frame[column.name], as_found(column, found[column.name]))
        for column in columns
        if column.name in found and _is_rewritten(column)
    }
    return frame.assign(**changed) if changed else frame


def _is_rewritten(column: Column) -> bool:
    """Whether a file has the column's values otherwise, and not only its name."""
    return replace(column.written, header="") != AS_DECLARED


def _in_schema(column: Column, values: pd.Series, written: Written) -> pd.Series:
    if isinstance(values, pd.DataFrame):
        return values  # two columns of a name are refused elsewhere
    if not (_is_text(values) or (column.type == "boolean" and written.flags)):
        marked = values.isin(numbers_for_missing(written)) if types.is_numeric_dtype(values) else None
        return values if marked is None or not marked.any() else values.mask(marked)
    given = as_text(values)
    texts = plain_texts(column, as_array(given), written)
    plain = pd.Series(texts.to_pandas(), index=values.index, dtype="str")
    converted, wrong = convert(column, plain)
    if not wrong.any():
        return typed(replace(column, nullable=column.nullable or bool(converted.isna().any())), converted)
    # Whoever checks the rows will say which; load() may know them by their words.
    words = pd.to_numeric(given, errors="coerce").isna()
    return plain.mask((plain == NOT_AS_DECLARED) & words, given)


def _is_text(values: pd.Series) -> bool:
    kind = values.dtype
    return types.is_string_dtype(kind.categories if isinstance(kind, pd.CategoricalDtype) else values)


_WIDE = 100


@dataclass(frozen=True)
class CsvFile:
    """A text file with one header line. Only an empty field is a missing value, unless the schema says more."""

    path: Path
    columns: Sequence[Column] = ()
    said: DialectSettings = DialectSettings()  # noqa: RUF009  # frozen

    @property
    def dialect(self) -> Dialect:
        """How it is written: what the settings say, and what is found out of the rest."""
        names = [name for column in self.columns for name in (column.written.header, column.name) if name]
        found = find_dialect(self.path, names=names, encoding=self.said.encoding or "")
        return replace(found, **self.said.model_dump(exclude_none=True))

    def read(self, names: Mapping[str, str] | None = None) -> pd.DataFrame:
        names = names or {}
        declared = {
            header
            for column in self.columns
            if column.type == "string" or _is_rewritten(column)
            for header in (column.written.header, column.name)
        }
        renamed = [header for header, name in names.items() if name in declared]
        return as_schema(self.columns, self.table(dict.fromkeys([*declared, *renamed], "str"))).rename(columns=names)

    def texts(self) -> pd.DataFrame:
        """Each column as text, under its header as it is written: pandas calls the second ``x`` ``x.1``."""
        frame, line = self.table("str"), self._parsed(dtype="str", header=None, nrows=1)
        headers = [header if isinstance(header, str) else f"Unnamed: {at}" for at, header in enumerate(line.iloc[0])]
        return frame.set_axis(headers, axis="columns")

    def table(self, kinds: Any) -> pd.DataFrame:
        """The rows as pandas reads them. It would read the id 007 as 7 and the country NA as missing.

        Raises
        ------
        DataError
            The file is damaged, or no table.
        """
        frame = self._parsed(dtype=kinds, low_memory=False)  # else it guesses a type a piece of the file, and warns
        if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much for row names
            raise DataError(f"{self.path.name} has rows with more fields than its header", "Repair or replace it")
        # pandas keeps each column by itself, and minds it as soon as a wide table gets another one.
        return frame.copy() if len(frame.columns) > _WIDE else frame

    def _parsed(self, **options: Any) -> pd.DataFrame:
        dialect = self.dialect
        if dialect.encoding == UTF8:
            require_utf8(self.path)
        try:
            return pd.read_csv(
                self.path,
                keep_default_na=False,
                na_values=[""],
                sep=dialect.delimiter,
                quotechar=dialect.quote,
                encoding="utf-8-sig" if dialect.encoding == UTF8 else dialect.encoding,
                compression="gzip" if is_compressed(self.path) else None,
                **options,
            )
        except UnicodeError as error:
            what = f"{self.path.name} is not text in {dialect.encoding} throughout"
            raise DataError(what, "Name a file of text, or save it as UTF-8") from error
        except (OSError, ValueError, EOFError) as error:  # pandas' parser errors are ValueErrors
            words = first_line(error).removeprefix("Error tokenizing data. C error: ")
            raise DataError(f"{self.path.name} cannot be read: {words}", "Repair or replace it") from error


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file, or a folder of such. A folder's name such as ``year=2026`` is a column of texts."""

    path: Path
    columns: Sequence[Column] = ()

    def read(self, names: Mapping[str, str] | None = None) -> pd.DataFrame:
        return as_schema(self.columns, self.table()).rename(columns=names or {})

    def table(self) -> pd.DataFrame:
        """Its columns, with bytes that are texts as texts. What pandas wrote as a named index is one of them.

        Raises
        ------
        DataError
            It is damaged, or no Parquet file.
        """
        parts = {"partitioning": _partitions(self.path)} if self.path.is_dir() else {}
        try:
            frame = pd.read_parquet(self.path, **parts)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path.name} cannot be read: {first_line(error)}", "Repair or replace it") from error
        frame = frame if frame.index.names == [None] else frame.reset_index()
        return frame.apply(_decoded) if (frame.dtypes == "object").any() else frame


def _decoded(values: pd.Series) -> pd.Series:
    if isinstance(values.dtype, np.dtype) and types.infer_dtype(values, skipna=True) == "bytes":
        with suppress(UnicodeDecodeError):
            return values.map(bytes.decode, na_action="ignore").astype("str")
    return values


def _partitions(folder: Path) -> Any:
    """The folders' names below it, as texts: 007 is not 7."""
    from pyarrow import dataset

    first = next((path for path in sorted(folder.rglob("*.parquet")) if path.is_file()), folder)
    keys = [part.partition("=")[0] for part in first.relative_to(folder).parts[:-1] if "=" in part]
    return dataset.partitioning(pa.schema([(key, pa.string()) for key in keys]), flavor="hive")


@dataclass(frozen=True)
class SqlQuery:
    """The rows that a SELECT gives. The password is kept apart from the address, which may be logged."""

    address: str
    query: str
    password: str | None = None
    root: Path = Path()
    columns: Sequence[Column] = ()

    def read(self, names: Mapping[str, str] | None = None) -> pd.DataFrame:
        from sqlalchemy import create_engine, text
        from sqlalchemy.exc import DataError as DBAPIDataError
        from sqlalchemy.exc import IntegrityError, SQLAlchemyError

        hint = "Check the address and data.query"
        try:
            engine = create_engine(self._url())
            with engine.connect() as connection:
                rows = pd.read_sql_query(text(self.query), connection)
            return as_schema(self.columns, rows).rename(columns=names or {})
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
