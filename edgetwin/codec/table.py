"""A whole file of columns over one time axis, coded. docs/frames.md specifies it.

::

    file = "ETWT" 01 msgpack([rows, name of the time, its unit, column of times, [[name, column], ...]]) crc32
    column = [law, payload]
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from edgetwin.codec.column import ColumnCode, ColumnCoder
from edgetwin.codec.contents import array, integer, items, text, unpacked
from edgetwin.codec.laws import Law
from edgetwin.codec.limits import COLUMNS_MAX
from edgetwin.errors import FrameError

MAGIC = b"ETWT\x01"
VALUES_MAX = 2**28
"""Values of a table, its times counted as a column. A longer recording is split."""

_CRC_BYTES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """``t_ns`` int64[rows]; ``values`` float64[rows, columns], NaN for no value; ``time`` names the first column
    and ``unit`` says in what its text is written."""

    time: str
    unit: str
    t_ns: NDArray[np.int64]
    names: tuple[str, ...]
    values: NDArray[np.float64]


def encode_table(table: Table, tolerance: list[float]) -> bytes:
    """Every value of column k within ``tolerance[k]`` (0: to the bit); times exactly.

    FrameError when the table has more than COLUMNS_MAX columns or VALUES_MAX values.
    """
    if len(table.names) > COLUMNS_MAX or len(table.t_ns) * (len(table.names) + 1) > VALUES_MAX:
        raise FrameError(f"a table of more than {VALUES_MAX} values or {COLUMNS_MAX} columns", hint="split the file")
    coder = ColumnCoder()
    columns = [[name, _to_wire(coder.encode(table.values[:, k], tolerance[k]))] for k, name in enumerate(table.names)]
    time = _to_wire(coder.encode_integers(table.t_ns))
    body = MAGIC + bytes(msgpack.packb([len(table.t_ns), table.time, table.unit, time, columns]))
    return body + zlib.crc32(body).to_bytes(_CRC_BYTES, "big")


def decode_table(data: bytes) -> Table:
    """The reverse of :func:`encode_table`. FrameError when ``data`` is anything else."""
    body = data[:-_CRC_BYTES]
    if not data.startswith(MAGIC):
        raise FrameError("this is not a coded table", hint="name a file that `edgetwin codec encode` has written")
    if zlib.crc32(body).to_bytes(_CRC_BYTES, "big") != data[-_CRC_BYTES:]:
        raise FrameError("the checksum is wrong: the file was cut or altered", hint="copy it again")
    wire = unpacked("the coded table is", body[len(MAGIC) :], COLUMNS_MAX)
    rows, time, unit, times, columns = array("a table", wire, 5)
    integer("rows", rows, 0, VALUES_MAX)
    named = [array("a column", column, 2) for column in items("columns", columns, COLUMNS_MAX)]
    if rows * (len(named) + 1) > VALUES_MAX:
        raise FrameError(f"the table claims more than {VALUES_MAX} values")
    coder = ColumnCoder()
    t_ns = coder.decode_integers(_from_wire(times, rows))
    names = tuple(text("the name of a column", name) for name, _ in named)
    codes = [_from_wire(code, rows) for _, code in named]
    values = np.empty((rows, len(codes)))
    for k, code in enumerate(codes):
        values[:, k] = coder.decode(code)
    return Table(text("the name of the time", time), text("the unit of the time", unit), t_ns, names, values)


def _to_wire(code: ColumnCode) -> list[Any]:
    return [code.law.to_wire(), code.payload]


def _from_wire(wire: object, rows: int) -> ColumnCode:
    law, payload = array("a coded column", wire, 2)
    if type(payload) is not bytes:
        raise FrameError("the payload of a column is not binary")
    return ColumnCode(Law.from_wire(law), rows, payload)
