"""What a CSV file is, before it is parsed: its encoding and the sign between its columns, said by name."""

from pathlib import Path

from starterkit.errors import DataError

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
