"""msgpack that knows NumPy arrays: an extension of type 1 is the array [fields or type, shape, bytes]."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Of what stands in a snapshot and still exists: numbers as they are now, and as they are there."""

_ARRAY = 1
_TEXT = "surrogateescape"
"""Names may come from topics, which are not always UTF-8."""


def pack(document: Any) -> bytes:
    """``document``, of maps, lists, scalars and arrays, as bytes."""
    return bytes(msgpack.packb(document, default=_pack_array, unicode_errors=_TEXT))


def unpack(blob: bytes | memoryview) -> Any:
    """The reverse of :func:`pack`; arrays are writable copies. ValueError, TypeError or msgpack.UnpackException when it
    cannot be read."""
    return msgpack.unpackb(blob, ext_hook=_unpack_array, strict_map_key=False, unicode_errors=_TEXT)


def describe(dtype: np.dtype[Any]) -> Any:
    """A plain type as its name; of records the name, type and, for an array, shape of each field."""
    if dtype.names is None:
        return dtype.str
    fields = [(name, dtype[name]) for name in dtype.names]
    return [(name, f.base.str, f.shape) if f.shape else (name, f.str) for name, f in fields]


def _pack_array(value: object) -> msgpack.ExtType:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} cannot be packed")
    return msgpack.ExtType(_ARRAY, msgpack.packb([describe(value.dtype), value.shape, value.tobytes()]))


def _unpack_array(code: int, data: bytes) -> NDArray[Any]:
    if code != _ARRAY:
        raise ValueError(f"extension {code} is unknown")
    description, shape, content = msgpack.unpackb(data)
    if isinstance(description, list):
        description = [(str(name), str(kind), *map(tuple, rest)) for name, kind, *rest in description]
    dtype = np.dtype(description, align=True)
    return np.frombuffer(content, dtype).reshape(shape).copy()
