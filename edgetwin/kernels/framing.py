"""Layout of MQTT packets (3.1.1 §2 and §3.3, 5.0 §2 and §3.3), compiled; nothing here raises or reads past ``n``."""

from __future__ import annotations

from edgetwin.kernels.bits import Array, at
from edgetwin.kernels.jit import kernel
from edgetwin.kernels.json import ABSENT, MALFORMED
from edgetwin.kernels.numbers import OK


@kernel
def packet_at(buf: Array, p: int, n: int, packet_max: int) -> tuple[int, int, int]:
    """The packet at ``p``: (start of its variable header, end, OK); ABSENT: cut; MALFORMED."""
    i = p + 1
    size = 0
    shift = 0
    while True:
        if i >= n:
            return 0, 0, ABSENT
        c = at(buf, i)
        i += 1
        size |= (c & 127) << shift
        if c < 128:
            break
        shift += 7
        if shift > 21:
            return 0, 0, MALFORMED
    end = i + size
    if end - p > packet_max:
        return 0, 0, MALFORMED
    if end > n:
        return 0, 0, ABSENT
    return i, end, OK


@kernel
def parts_of_publish(buf: Array, body: int, end: int, qos: int, v5: bool) -> tuple[int, int, bool, int]:
    """Inside of a PUBLISH: (end of the topic, start of the payload, topic alias present, OK or MALFORMED)."""
    if end - body < 2 or qos == 3:
        return 0, 0, False, MALFORMED
    topic_end = body + 2 + (at(buf, body) << 8 | at(buf, body + 1))
    i = topic_end
    if qos > 0:
        i += 2
    if i > end or (qos > 0 and at(buf, i - 2) == 0 and at(buf, i - 1) == 0):
        return 0, 0, False, MALFORMED
    alias = False
    if v5:
        size, i = _variable(buf, i, end)
        if i < 0 or i + size > end:
            return 0, 0, False, MALFORMED
        if size > 0:
            alias, status = _properties(buf, i, i + size)
            if status != OK:
                return 0, 0, False, MALFORMED
            i += size
    return topic_end, i, alias, OK


@kernel
def _variable(buf: Array, i: int, end: int) -> tuple[int, int]:
    """A variable byte integer at ``i`` and the index after it; -1 as the index if it is cut or too long."""
    value = 0
    for k in range(4):
        if i >= end:
            break
        c = at(buf, i)
        i += 1
        value |= (c & 127) << (7 * k)
        if c < 128:
            return value, i
    return 0, -1


@kernel
def _properties(buf: Array, i: int, end: int) -> tuple[bool, int]:
    """Walk the properties of a PUBLISH (MQTT 5, table 2-4): (topic alias present, OK or MALFORMED)."""
    alias = False
    while i < end:
        kind = at(buf, i)
        i += 1
        if kind == 0x01:
            i += 1
        elif kind == 0x02:
            i += 4
        elif kind == 0x23:
            alias = True
            i += 2
        elif kind == 0x0B:
            _, i = _variable(buf, i, end)
            if i < 0:
                return alias, MALFORMED
        elif kind == 0x03 or kind == 0x08 or kind == 0x09 or kind == 0x26:
            for _ in range(2 if kind == 0x26 else 1):
                if i + 2 > end:
                    return alias, MALFORMED
                i += 2 + (at(buf, i) << 8 | at(buf, i + 1))
        else:
            return alias, MALFORMED
    return alias, (OK if i == end else MALFORMED)
