"""MQTT 3.1.1 and 5 from a read buffer to samples, compiled: the hot route of the daemon.

:func:`scan` takes the PUBLISH packets of QoS 0 and 1 that it can read, and hands on positions of the rest:
*control* packets (everything else, and QoS 2) are the session library's, *slow* packets are PUBLISHes for
Python (unknown topics that match a pattern, topic aliases, payloads the scanner leaves alone).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgetwin.kernels.bits import Array, at, pointer
from edgetwin.kernels.framing import packet_at, parts_of_publish
from edgetwin.kernels.jit import kernel
from edgetwin.kernels.json import ABSENT, Scratch, Trie, read_document
from edgetwin.kernels.lookup import ENTRY_WIDTH, find, matches_any
from edgetwin.kernels.numbers import OK, PUNT, parse_number
from edgetwin.kernels.paths import BINDING_WIDTH, JSON, PLAIN, PLAN_WIDTH, SLOW
from edgetwin.kernels.redelivery import HOLDING, Fused, fused_pointers, is_redelivery, message_hash
from edgetwin.kernels.topics import MASK, PATTERNS, PATTERNS_FULL, SEED, TableView

MORE, FULL, BROKEN = 0, 1, 2
"""How a scan ended: all complete packets consumed; an output array is full; the stream is not MQTT."""

SAMPLES, CONTROLS, SLOWS, ACK_BYTES = 0, 1, 2, 3
MESSAGES, UNMATCHED, OVERFLOWED, INVALIDS, LATE_DROPPED = 4, 5, 6, 7, 8
INVALID_START, INVALID_END = 9, 10
DUPLICATES = 11
COUNTERS = 12

PAYLOAD_MAX = 4
"""Where ``Output.room`` holds it."""

SLOW_WIDTH = 5
"""Columns of ``Output.slow``: start and end of the packet, samples before it, arrival stamp, ack offset (or -1)."""

_UNMATCHED, _OVERFLOW, _BOUND, _SLOW = 0, 1, 2, 3


class Output(NamedTuple):
    """What a scan produces; ``counters`` says how far each array is filled.

    ``slot`` int32[s], ``t_ns`` int64[s], ``value`` float64[s]: samples in order of arrival; ``control``
    int64[c, 2]: spans of the buffer; ``slow`` int64[w, 5] as in ``SLOW_WIDTH``; ``ack`` uint8[4 a]: PUBACK
    packets of all QoS 1 messages in order, slow ones and duplicates included; ``hash`` int64[a]: their
    :func:`message_hash`, where they are held; ``counters`` int64[COUNTERS];
    ``room`` int64[5]: how many samples, spans, slow packets and bytes of PUBACKs fit; the longest payload that is not
    left to Python.
    """

    slot: Array
    t_ns: Array
    value: Array
    control: Array
    slow: Array
    ack: Array
    hash: Array
    counters: Array
    room: Array


def make_output(samples: int, packets: int) -> Output:
    """Arrays for ``samples`` samples and ``packets`` each of control spans, slow packets and PUBACKs."""
    return Output(
        np.empty(samples, np.int32),
        np.empty(samples, np.int64),
        np.empty(samples, np.float64),
        np.empty((packets, 2), np.int64),
        np.empty((packets, SLOW_WIDTH), np.int64),
        np.empty(4 * packets, np.uint8),
        np.empty(packets, np.int64),
        np.zeros(COUNTERS, np.int64),
        np.array([samples, packets, packets, 4 * packets, 2**62], np.int64),
    )


@kernel
def scan(
    buf: Array, n: int, table: TableView, out: Output, fused: Fused, now_ns: int, packet_max: int, v5: bool
) -> tuple[int, int]:
    """Consume the complete packets of ``buf`` uint8[:] in ``[0, n)``: (bytes consumed, MORE, FULL or BROKEN).

    ``packet_max``: longest acceptable packet in bytes. Every message has its own arrival stamp,
    ``now_ns`` plus its number in this call, and samples without a time of their own are of that instant.
    Each PUBLISH ends as samples (those of one message count as one instant), in a count, or in ``slow``:

    * no entry in the table: UNMATCHED, or, where a pattern matches, ``slow`` (OVERFLOWED once full);
    * an empty payload: one INVALID; a malformed one: one for each binding;
    * a binding whose path is absent: nothing, but one INVALID if all are;
    * RETAIN without a time of its own: LATE_DROPPED, as its age is unknown;
    * a redelivery of what is in ``fused``: DUPLICATES, whatever it holds.

    Nothing at or after ``buf[n]`` is read. ``table.scratch`` is overwritten.
    """
    tables, outputs = _table_pointers(table), _output_pointers(out)
    return _scan(pointer(buf), n, tables, outputs, fused_pointers(fused), now_ns, packet_max, v5)


@kernel
def _table_pointers(t: TableView) -> TableView:
    s = t.scratch
    return TableView(
        pointer(t.index),
        pointer(t.entries),
        pointer(t.names),
        pointer(t.slots),
        pointer(t.plans),
        pointer(t.bindings),
        Trie(pointer(t.trie.nodes), pointer(t.trie.edges), pointer(t.trie.leaves), pointer(t.trie.keys)),
        pointer(t.patterns),
        pointer(t.levels),
        pointer(t.literals),
        pointer(t.state),
        Scratch(pointer(s.status), pointer(s.ns), pointer(s.value), pointer(s.seen), pointer(s.stack)),
    )


@kernel
def _output_pointers(o: Output) -> Output:
    return Output(
        pointer(o.slot),
        pointer(o.t_ns),
        pointer(o.value),
        pointer(o.control),
        pointer(o.slow),
        pointer(o.ack),
        pointer(o.hash),
        pointer(o.counters),
        pointer(o.room),
    )


@kernel
def _scan(
    buf: Array, n: int, table: TableView, out: Output, fused: Fused, now_ns: int, packet_max: int, v5: bool
) -> tuple[int, int]:
    counters, room, state = out.counters, out.room, table.state
    holding = at(fused.state, HOLDING) != 0
    for k in range(COUNTERS):
        counters[k] = 0
    p = 0
    while True:
        body, end, status = packet_at(buf, p, n, packet_max)
        if status != OK:
            return p, (MORE if status == ABSENT else BROKEN)
        header = at(buf, p)
        qos = (header >> 1) & 3
        if header >> 4 != 3 or qos == 2:
            if not _hand_on(p, end, out):
                return p, FULL
            p = end
            continue
        topic_end, payload, alias, status = parts_of_publish(buf, body, end, qos, v5)
        if status != OK:
            return p, BROKEN
        if counters[SLOWS] == room[SLOWS] or counters[ACK_BYTES] + 4 > room[ACK_BYTES]:
            return p, FULL
        message = 0
        if qos == 1 and holding:
            message = message_hash(buf, body + 2, topic_end, payload, end)
            mid = at(buf, topic_end) << 8 | at(buf, topic_end + 1)
            if is_redelivery(fused, mid, message, header & 8 != 0):
                _acknowledge(buf, topic_end, message, out)
                counters[DUPLICATES] += 1
                counters[MESSAGES] += 1
                p = end
                continue
        entry = -1
        fate = _SLOW
        if topic_end > body + 2 and not alias and end - payload <= room[PAYLOAD_MAX]:
            seed, mask = at(state, SEED), at(state, MASK)
            entry = find(buf, body + 2, topic_end, seed, mask, table.index, table.entries, table.names)
            fate = _BOUND
            if entry < 0:
                fate = _fate_of_stranger(buf, body + 2, topic_end, table)
        stamp = now_ns + counters[MESSAGES]
        if fate == _BOUND:
            plan = at(table.entries, entry * ENTRY_WIDTH + 2)
            if plan < 0:
                counters[UNMATCHED] += 1
            else:
                slot = at(table.entries, entry * ENTRY_WIDTH + 3)
                needed = at(table.plans, plan * PLAN_WIDTH + 1)
                if needed > room[SAMPLES]:
                    fate = _SLOW
                elif counters[SAMPLES] + needed > room[SAMPLES]:
                    return p, FULL
                elif not _read(buf, p, payload, end, plan, slot, stamp, header & 1, table, out):
                    fate = _SLOW
        elif fate == _UNMATCHED:
            counters[UNMATCHED] += 1
        elif fate == _OVERFLOW:
            counters[OVERFLOWED] += 1
        if fate == _SLOW:
            _leave_to_python(p, end, stamp, qos, out)
        if qos == 1:
            _acknowledge(buf, topic_end, message, out)
        counters[MESSAGES] += 1
        p = end


@kernel
def _hand_on(p: int, end: int, out: Output) -> bool:
    """Note a control packet, joined to its predecessor where they touch; False if there is no room."""
    k = out.counters[CONTROLS]
    if k > 0 and out.control[2 * k - 1] == p:
        out.control[2 * k - 1] = end
        return True
    if k == out.room[CONTROLS]:
        return False
    out.control[2 * k] = p
    out.control[2 * k + 1] = end
    out.counters[CONTROLS] = k + 1
    return True


@kernel
def _fate_of_stranger(buf: Array, a: int, b: int, table: TableView) -> int:
    """What to do with a topic that is not in the table."""
    if not matches_any(buf, a, b, at(table.state, PATTERNS), table.patterns, table.levels, table.literals):
        return _UNMATCHED
    return _OVERFLOW if at(table.state, PATTERNS_FULL) != 0 else _SLOW


@kernel
def _leave_to_python(p: int, end: int, stamp: int, qos: int, out: Output) -> None:
    k = out.counters[SLOWS]
    out.slow[k * SLOW_WIDTH + 0] = p
    out.slow[k * SLOW_WIDTH + 1] = end
    out.slow[k * SLOW_WIDTH + 2] = out.counters[SAMPLES]
    out.slow[k * SLOW_WIDTH + 3] = stamp
    out.slow[k * SLOW_WIDTH + 4] = out.counters[ACK_BYTES] if qos == 1 else -1
    out.counters[SLOWS] = k + 1


@kernel
def _acknowledge(buf: Array, i: int, message: int, out: Output) -> None:
    """Write the PUBACK of the packet identifier at ``i``, and the hash of its message."""
    k = out.counters[ACK_BYTES]
    out.hash[k >> 2] = message
    out.ack[k] = 0x40
    out.ack[k + 1] = 2
    out.ack[k + 2] = buf[i]
    out.ack[k + 3] = buf[i + 1]
    out.counters[ACK_BYTES] = k + 4


@kernel
def _refuse(p: int, end: int, samples: int, out: Output) -> None:
    """Count invalid samples of the packet and keep the position of the first such packet."""
    out.counters[INVALIDS] += samples
    if out.counters[INVALID_END] == 0:
        out.counters[INVALID_START] = p
        out.counters[INVALID_END] = end


@kernel
def _read(
    buf: Array,
    p: int,
    a: int,
    b: int,
    plan: int,
    slot: int,
    stamp: int,
    retained: int,
    table: TableView,
    out: Output,
) -> bool:
    """Samples of the payload ``buf[a:b]`` by a plan; False if it is for Python, and nothing is counted then."""
    kind = at(table.plans, plan * PLAN_WIDTH)
    bindings = at(table.plans, plan * PLAN_WIDTH + 1)
    if kind == SLOW:
        return False
    if a == b:
        _refuse(p, b, 1, out)
        return True
    if kind == PLAIN:
        value, _, status = parse_number(buf, a, b, False)
        if status == PUNT:
            return False
        if status != OK:
            _refuse(p, b, bindings, out)
        elif retained:
            out.counters[LATE_DROPPED] += bindings
        elif bindings == 1:
            _emit(slot, stamp, value, out)
        else:
            for k in range(bindings):
                _emit(at(table.slots, slot + k), stamp, value, out)
        return True
    root = at(table.plans, plan * PLAN_WIDTH + 3)
    leaves = at(table.plans, plan * PLAN_WIDTH + 5)
    status = read_document(buf, a, b, root, leaves, table.trie, table.scratch)
    if status == PUNT:
        return False
    if status != OK:
        _refuse(p, b, bindings, out)
        return True
    _emit_leaves(p, b, plan, slot, stamp, retained, table, out)
    return True


@kernel
def _emit(slot: int, t_ns: int, value: float, out: Output) -> None:
    k = out.counters[SAMPLES]
    out.slot[k] = slot
    out.t_ns[k] = t_ns
    out.value[k] = value
    out.counters[SAMPLES] = k + 1


@kernel
def _emit_leaves(
    p: int, end: int, plan: int, slot: int, stamp: int, retained: int, table: TableView, out: Output
) -> None:
    """One sample for each binding whose value and time the scanner found."""
    bindings = at(table.plans, plan * PLAN_WIDTH + 1)
    row = at(table.plans, plan * PLAN_WIDTH + 2) * BINDING_WIDTH
    scratch = table.scratch
    absent = 0
    invalid = 0
    for k in range(bindings):
        value = at(table.bindings, row + k * BINDING_WIDTH)
        time = at(table.bindings, row + k * BINDING_WIDTH + 1)
        status = at(scratch.status, value)
        time_status = at(scratch.status, time) if time >= 0 else ABSENT
        if status == ABSENT:
            absent += 1
        elif status != OK or (time_status != OK and time_status != ABSENT):
            invalid += 1
        elif time_status == ABSENT and retained:
            out.counters[LATE_DROPPED] += 1
        else:
            t_ns = stamp if time_status == ABSENT else at(scratch.ns, time)
            _emit(slot if bindings == 1 else at(table.slots, slot + k), t_ns, scratch.value[value], out)
    if absent == bindings:
        invalid = 1
    if invalid > 0:
        _refuse(p, end, invalid, out)


__all__ = ["BROKEN", "FULL", "JSON", "MORE", "Output", "make_output", "scan"]
