"""Tensors of the Open Inference Protocol as arrays: read from JSON or from the bytes behind it, and written as either.

See docs/protocols.md for what of the protocol is spoken.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from starterkit.serving.http.answers import SHOWN, bad
from starterkit.serving.validation import Fault, InvalidRecords, Values, is_unicode

SHAPE = 'Send {"inputs": [{"name": column, "shape": [rows], "datatype": "FP64", "data": [values]}, …]}'
SIZE = "binary_data_size"

_NUMBERS = msgspec.json.Decoder(list[float | None])
_ROWS = msgspec.json.Decoder(list[list[float | None]])
_TEXTS = {"BOOL": msgspec.json.Decoder(list[bool | None]), "BYTES": msgspec.json.Decoder(list[str | None])}
_DTYPES = {
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
}
DATATYPES = (*_DTYPES, *_TEXTS)


class Tensor(msgspec.Struct, forbid_unknown_fields=True):
    """An input as it was sent, with its data unread: JSON, or bytes behind the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] = {}

    @property
    def shown(self) -> str:
        return self.name[:SHOWN]

    def read(self, content: memoryview | None) -> NDArray[Any]:
        """Flat: numbers with NaN where one is missing, flags or texts as objects with None there; the sender's bytes.

        Raises
        ------
        InvalidRequest
            The datatype is none, or the data is not what datatype and shape say.
        """
        if self.datatype not in DATATYPES:
            raise bad(f"the datatype of '{self.shown}' is unknown", f"Send one of {', '.join(DATATYPES)}")
        count = math.prod(self.shape)
        array = self._of_json() if content is None else self._of_bytes(content, count)
        if len(array) != count or not count or min(self.shape) < 0:
            raise bad(f"the data of '{self.shown}' is not what its shape says", "Send at least one row")
        return array

    def _of_json(self) -> NDArray[Any]:
        assert self.data is not msgspec.UNSET
        try:
            if self.datatype in _TEXTS:
                return np.array(_TEXTS[self.datatype].decode(self.data), object)
            if len(self.shape) > 1 and bytes(memoryview(self.data)[1:20]).lstrip()[:1] == b"[":
                return np.array([one for row in _ROWS.decode(self.data) for one in row], np.float64)
            return np.array(_NUMBERS.decode(self.data), np.float64)
        except msgspec.DecodeError as error:
            what = f"the data of '{self.shown}' is not of its datatype: {without_values(error)}"
            raise bad(what, "Send a flat list, with null where a value is missing") from None

    def _of_bytes(self, content: memoryview, count: int) -> NDArray[Any]:
        if self.datatype == "BYTES":
            return self._texts(content, count)
        dtype = _DTYPES.get(self.datatype, np.dtype(np.uint8))
        if len(content) != count * dtype.itemsize:
            what = f"'{self.shown}' has {len(content)} bytes, and not {dtype.itemsize} for each value of its shape"
            raise bad(what, f"Send the values one after the other, and their length as {SIZE}")
        array = np.frombuffer(content, dtype)
        if self.datatype == "BOOL":
            self._refuse(np.flatnonzero(array > 1), "is not true or false", "Give a byte of 1 or 0")
            return array.astype(np.bool_)
        return array

    def _texts(self, content: memoryview, count: int) -> NDArray[Any]:
        """Each has its length before it, in four bytes."""
        texts: list[bytes] = []
        at = 0
        while at < len(content) and len(texts) <= count:
            start = at + 4
            at = start + int.from_bytes(content[at:start], "little")
            texts.append(bytes(content[start:at]))
        if at != len(content) or len(texts) != count:
            what = f"the bytes of '{self.shown}' are not a text for each value of its shape"
            raise bad(what, "Send each text as its length in four bytes, the lowest first, and its UTF-8")
        try:
            return np.array([text.decode() for text in texts], object)
        except UnicodeDecodeError:
            decoded = [text.decode("utf-8", "surrogateescape") for text in texts]
            self._refuse(
                [row for row, text in enumerate(decoded) if not is_unicode(text)], "is not UTF-8", "Encode it so"
            )
            raise

    def _refuse(self, rows: Sequence[int] | NDArray[np.intp], problem: str, hint: str) -> None:
        if len(rows):
            raise InvalidRecords([Fault(int(row), self.shown, problem, hint) for row in rows])


def without_values(error: msgspec.DecodeError) -> str:
    """msgspec names places and types; a value that it does not know it would repeat."""
    words = str(error)
    return "" if "Invalid value" in words or "Invalid enum" in words else words[:SHOWN]


def contents(tensors: Sequence[Tensor], behind: memoryview) -> list[memoryview | None]:
    """For each tensor its bytes among those behind the JSON; None where its data stands in the JSON.

    Raises
    ------
    InvalidRequest
        A tensor has no data or twice, or there are not as many bytes as they say.
    """
    found: list[memoryview | None] = []
    at = 0
    for one in tensors:
        size = one.parameters.get(SIZE)
        if (size is None) == (one.data is msgspec.UNSET):
            raise bad(f"the input '{one.shown}' has no data, or has it twice", f"Send `data`, or {SIZE} and its bytes")
        if size is None:
            found.append(None)
            continue
        if type(size) is not int or not 0 <= size <= len(behind) - at:
            raise bad(f"the bytes of '{one.shown}' are not there", f"Send as many as {SIZE} says behind the JSON")
        found.append(behind[at : at + size])
        at += size
    if at != len(behind):
        raise bad(f"there are {len(behind) - at} bytes more than the inputs say", f"Say how many in {SIZE}")
    return found


def as_values(array: NDArray[Any]) -> Values:
    """A column with what is missing in it."""
    nothing = np.zeros(len(array), np.bool_)
    if array.dtype.kind != "O":
        return Values(array, np.isnan(array) if array.dtype.kind == "f" else nothing, nothing)
    missing = np.fromiter((one is None for one in array), np.bool_, len(array))
    kind = next((type(one) for one in array if one is not None), str)
    filled = np.where(missing, False if kind is bool else "", array)
    return Values(filled.astype(np.bool_ if kind is bool else object), missing, nothing)


def write(name: str, values: NDArray[Any], *, is_binary: bool) -> tuple[dict[str, Any], bytes]:
    """An output: what the JSON says of it, and its bytes behind that."""
    kind, dtype = {"f": ("FP64", "<f8"), "i": ("INT64", "<i8"), "b": ("BOOL", "?")}.get(
        values.dtype.kind, ("BYTES", "")
    )
    about = {"name": name, "datatype": kind, "shape": [len(values)]}
    if not is_binary:
        return about | {"data": values.tolist()}, b""
    if dtype:
        content = values.astype(dtype, copy=False).tobytes()
    else:
        texts = [text.encode() for text in values.tolist()]
        content = b"".join(part for text in texts for part in (len(text).to_bytes(4, "little"), text))
    return about | {"parameters": {SIZE: len(content)}}, content
