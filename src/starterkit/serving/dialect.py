"""A text file's dialect, found out from its first lines, and its content as UTF-8 whatever it is stored in.

A file is refused where reading it would be a guess: see docs/decisions/0024-written.md.
"""

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Self

from starterkit.contract import COMMAS, Dialect
from starterkit.errors import DataError

UTF8 = "utf-8"
MARK = codecs.BOM_UTF8
_OTHER_KINDS = {
    b"PK\x03\x04": "a ZIP or Excel file",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "a SQLite database",
}
_GZIP = b"\x1f\x8b"
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WESTERN = "cp1252"
_DELIMITERS = (",", ";", "\t", "|")
_HEAD = 65_536
_BLOCK = 1 << 20
_MOST_LINES = 100
_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def is_compressed(path: Path) -> bool:
    """Whether a file is gzip's, whatever it is called."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def find_dialect(path: Path, likely: Dialect = COMMAS, names: Sequence[str] = (), encoding: str = "") -> Dialect:
    """How a text file is written.

    Parameters
    ----------
    likely
        What goes first where the file could be read in two ways: the dialect of the file that trained the model.
    names
        Columns that the file is known to have.
    encoding
        The encoding, where somebody said it.

    Raises
    ------
    DataError
        It is empty, of another kind, damaged, or in an encoding that cannot be told.
    """
    with unread(path.name), opened(path) as file:
        head = file.read(_HEAD)
        _require_text(path, head)
        encoding = encoding or _encoding(path, head, file, likely.encoding)
    decoded = codecs.getincrementaldecoder("utf-8-sig" if encoding == UTF8 else encoding)("replace").decode(head)
    lines = [f"{line}\n" for line in decoded.split("\n")[: _MOST_LINES if len(head) < _HEAD else -1]][:_MOST_LINES]
    lines = lines or [decoded]
    quote = _quote(lines[0].strip(), likely.quote)
    tabs = path.name.lower().removesuffix(".gz").endswith(".tsv") and likely == COMMAS
    return Dialect(
        delimiter=_delimiter(lines, quote, "\t" if tabs else likely.delimiter, names), encoding=encoding, quote=quote
    )


@contextmanager
def unread(name: str) -> Iterator[None]:
    """Turn what the disk and the decompression say into one line."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{name} is damaged: it cannot be decompressed to its end", "Repair or replace it") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}", "Repair or replace it") from error


def opened(path: Path) -> gzip.GzipFile | BufferedReader:
    """A file's content, decompressed."""
    return gzip.open(path) if is_compressed(path) else path.open("rb")


def _require_text(path: Path, head: bytes) -> None:
    if not head.strip(MARK + b" \r\n"):
        raise DataError(f"{path.name} is empty", "Put data there, or name another file")
    for signature, kind in _OTHER_KINDS.items():
        if head.startswith(signature):
            raise DataError(f"{path.name} is {kind} and not CSV", "Export it as CSV, or name a file of the right kind")
    if head.startswith(_UTF32):
        raise DataError(f"{path.name} is UTF-32 text", "Save it as UTF-8")


def _encoding(path: Path, head: bytes, file: BufferedIOBase, likely: str) -> str:
    """By its mark or zero bytes, else by the first block that is not ASCII."""
    if head.startswith(MARK):
        return UTF8
    if head.startswith(_UTF16):
        return "utf-16"
    if b"\x00" in head:
        return _wide(path, head)
    block = head
    while block.isascii():
        more = file.read(_BLOCK)
        if not more:
            return UTF8
        block = more
    block += file.read(3)  # a character that the block's end cut
    try:
        codecs.getincrementaldecoder(UTF8)().decode(block)
    except UnicodeDecodeError:
        # Where most of it is UTF-8, a piece of it is damaged: whoever reads it to there will say where.
        sound = sum(len(found) for found in _SEQUENCE.findall(block))
        if 2 * sound > sum(byte > 127 for byte in block):
            return UTF8
        return _single(path, block, _WESTERN if likely in (UTF8, "utf-16") else likely)
    return UTF8


def _wide(path: Path, head: bytes) -> str:
    """UTF-16 without a mark: every second byte of its first line is zero."""
    line = head.partition(b"\n")[0][:200]
    for encoding, zeros in (("utf-16-le", line[1::2]), ("utf-16-be", line[::2])):
        if len(line) > 3 and zeros.count(0) > 0.8 * len(zeros):
            return encoding
    raise DataError(f"{path.name} holds zero bytes, as no text does", "Name a file of text")


def _single(path: Path, block: bytes, encoding: str) -> str:
    try:
        block.decode(encoding)
    except UnicodeDecodeError:
        what = f"{path.name} is text in an encoding that is neither UTF-8 nor {encoding}"
        raise DataError(what, "Save it as UTF-8, or say data.dialect.encoding in config") from None
    return encoding


def _quote(header: str, likely: str) -> str:
    """A single quote where it stands around every name."""
    if '"' not in header and re.fullmatch(r"'[^']*'([,;\t|]'[^']*')+", header):
        return "'"
    return '"' if likely == "'" else likely


def _delimiter(lines: Sequence[str], quote: str, likely: str, names: Sequence[str]) -> str:
    """The sign that gives the known names, else the same number of fields in every line, else the most."""
    candidates = [likely, *(one for one in _DELIMITERS if one != likely)]
    return max(candidates, key=lambda delimiter: _fits(lines, delimiter, quote, frozenset(names)))


def _fits(lines: Sequence[str], delimiter: str, quote: str, names: frozenset[str]) -> tuple[int, bool, float, int, int]:
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter, quotechar=quote) if row]
    except csv.Error:
        rows = []
    header = rows[0] if rows else []
    alike = sum(len(row) == len(header) for row in rows) / max(len(rows), 1)
    padded = sum(field.startswith(" ") for field in header)  # "name;amount, in all": a comma of a sentence
    return len(names & {*header}), len(header) > 1, round(alike, 1), -padded, len(header)


# --- Its content as UTF-8, from any place on.


class Utf8File:
    """A text file's bytes as UTF-8, decompressed. A mark of UTF-8's stays, one of UTF-16's does not."""

    def __init__(self, path: Path, dialect: Dialect) -> None:
        self._size = max(path.stat().st_size, 1)
        packed, self._raw = is_compressed(path), path.open("rb")
        self._file = gzip.GzipFile(fileobj=self._raw) if packed else self._raw
        self._decoder = None if dialect.encoding == UTF8 else codecs.getincrementaldecoder(dialect.encoding)()
        self._is_plain = not packed and self._decoder is None
        self._name = path.name
        self._rest = b""

    @property
    def share(self) -> float:
        """How much of the file is read, from 0 to 1."""
        return min(self._raw.tell() / self._size, 1.0)

    def skip(self, count: int) -> None:
        """Go to a place, counted in bytes of UTF-8."""
        if self._is_plain:
            self._raw.seek(count)
            return
        while count:
            block = self.read(min(count, _BLOCK))
            if not block:
                return
            self._rest = block[count:] + self._rest
            count -= min(count, len(block))

    def read(self, size: int) -> bytes:
        """About so many bytes; none at the end."""
        if self._is_plain:
            return self._raw.read(size)
        block, self._rest = self._rest, b""
        while not block:
            with unread(self._name):
                found = self._file.read(size)
            try:
                block = found if self._decoder is None else self._decoder.decode(found, not found).encode()
            except UnicodeError:
                what = f"{self._name} is not encoded alike throughout"
                raise DataError(what, "Save it as UTF-8") from None
            if not found:
                break
        return block

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()


def encoded(content: bytes, encoding: str) -> bytes:
    """UTF-8 in a file's own encoding, without a mark.

    Raises
    ------
    UnicodeEncodeError
        It has signs that the encoding lacks.
    """
    return content.decode().encode("utf-16-le" if encoding == "utf-16" else encoding)


def mark_of(encoding: str) -> bytes:
    """What a file in the encoding begins with."""
    return codecs.BOM_UTF16_LE if encoding == "utf-16" else b""
