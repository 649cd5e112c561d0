"""What an engine was given, in the order of the calls, so that another one can be brought to the same state.

The engine depends on nothing but its configuration and the calls that change it: the same calls lead to the same state,
bit for bit. While a log is attached (``engine.inputs``) each such call from outside is entered before it takes effect;
what it calls itself is not. :func:`replay` makes the calls again, on an engine that has been restored from the snapshot
of the moment at which the log began, or on a new one.

One log as bytes, all little-endian: version u8, CRC-32C u32 of what follows, entries. An entry begins with its kind u8:

* SAMPLES, a batch: source u32, now i64, count n u32; slot i32[n], t i64[n], value f64[n].
* CALL, anything else: size u32, then a msgpack array of that many bytes: name of the method, list of positional
  arguments, map of the others. ``hear`` has the names of the signals it made slots for as a third argument.

Sources and slots are numbers, those of the engine that wrote. Where the configuration has changed since, they are read
by the names that the snapshot has for them (:class:`Numbering`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import msgpack
import numpy as np
from google_crc32c import value as crc32c
from numpy.typing import NDArray

from edgetwin.engine.packing import pack, unpack
from edgetwin.engine.twins import substitute
from edgetwin.errors import JournalError
from edgetwin.records import Batch, Outcome

if TYPE_CHECKING:
    from edgetwin.engine.engine import Engine

VERSION = 1
SAMPLES, CALL = 1, 2
_HEADER = struct.Struct("<BI")
_BATCH = struct.Struct("<BIqI")
_CALL = struct.Struct("<BI")
_SAMPLE_BYTES = 4 + 8 + 8
_HINT = "a log of inputs follows on one snapshot: restore that one first"

_P = ParamSpec("_P")
_R = TypeVar("_R")
_replayable: set[str] = set()


class InputLog:
    """Entries since the last :meth:`take`. ``bytes`` is their size; nothing bounds it but taking them."""

    def __init__(self) -> None:
        self.bytes = 0
        self._parts: list[bytes] = []

    def samples(self, source: int, batch: Batch, now_ns: int) -> None:
        """Enter a batch; it is copied."""
        n = len(batch.slot)
        self._parts += (
            _BATCH.pack(SAMPLES, source, now_ns, n),
            batch.slot.tobytes(),
            batch.t_ns.tobytes(),
            batch.value.tobytes(),
        )
        self.bytes += _BATCH.size + n * _SAMPLE_BYTES

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> None:
        """Enter another call; arguments are scalars, texts, and lists and maps of these."""
        body = pack([name, args, kwargs])
        self._parts += (_CALL.pack(CALL, len(body)), body)
        self.bytes += _CALL.size + len(body)

    def take(self) -> bytes:
        """The entries, empty when there is none; a new log begins."""
        body = b"".join(self._parts)
        self._parts.clear()
        self.bytes = 0
        return _HEADER.pack(VERSION, crc32c(body)) + body if body else b""


def recorded(method: Callable[Concatenate[Engine, _P], _R]) -> Callable[Concatenate[Engine, _P], _R]:
    """A method of the engine that changes it: calls from outside are entered into the log, if there is one."""
    _replayable.add(method.__name__)

    @wraps(method)
    def entered(engine: Engine, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        log = engine.inputs
        if log is None:
            return method(engine, *args, **kwargs)
        log.call(method.__name__, *args, **kwargs)
        engine.inputs = None  # what this call makes of it comes out again
        try:
            return method(engine, *args, **kwargs)
        finally:
            engine.inputs = log

    return entered


class Numbering:
    """What the numbers in a log stand for in ``engine``: ``sources`` and ``slots``, named in the order of their
    numbers there, become int32 numbers here, -1 where there is nothing of that name."""

    def __init__(self, engine: Engine, sources: Sequence[str], slots: Sequence[tuple[str, str]]) -> None:
        source_of = {name: number for number, name in enumerate(engine.sources)}
        slot_of = {name: slot for slot, name in enumerate(engine.slot_names)}
        self.sources: NDArray[np.int32] = np.array([source_of.get(name, -1) for name in sources], np.int32)
        self.slots: NDArray[np.int32] = np.array([slot_of.get(name, -1) for name in slots], np.int32)
        self._unchanged = bool((self.slots == np.arange(len(self.slots))).all())

    def source(self, number: int) -> int:
        """A source of the engine, or -1. JournalError when there never was one of that number."""
        if not 0 <= number < len(self.sources):
            raise JournalError(f"source {number} is unknown", hint=_HINT)
        return int(self.sources[number])

    def slot(self, slot: NDArray[np.int32]) -> NDArray[np.int32]:
        """Slots of the engine, or -1. JournalError when there never was one of such a number."""
        if len(slot) and not (slot.min() >= 0 and slot.max() < len(self.slots)):
            raise JournalError("a slot is unknown", hint=_HINT)
        return slot if self._unchanged else self.slots[slot]

    def extend(self, slots: Sequence[int]) -> None:
        """The numbers that follow those so far."""
        first = len(self.slots)
        self.slots = np.append(self.slots, np.array(slots, np.int32))
        self._unchanged &= list(slots) == list(range(first, first + len(slots)))


def replay(engine: Engine, data: bytes) -> int:
    """Make the calls of a log again; gives the number of samples in it.

    Samples of signals that are no more count as unmatched; what came from sources that are no more, and calls about
    twins that are no more, are left out. JournalError when the log is damaged or does not belong here.
    """
    if not data:
        return 0
    if len(data) < _HEADER.size:
        raise JournalError("a log of inputs is cut off")
    version, checksum = _HEADER.unpack_from(data)
    if version != VERSION:
        raise JournalError(f"log of inputs of version {version}, this release reads {VERSION}")
    if crc32c(data[_HEADER.size :]) != checksum:
        raise JournalError("a log of inputs is damaged: its checksum is wrong")
    if engine.numbering is None:
        engine.numbering = Numbering(engine, engine.sources, engine.slot_names)
    try:
        return _replay(engine, engine.numbering, memoryview(data))
    except (LookupError, ArithmeticError, ValueError, TypeError, AttributeError, struct.error) as exc:
        raise JournalError(f"a log of inputs cannot be replayed: {exc!r}", hint=_HINT) from exc
    except msgpack.UnpackException as exc:
        raise JournalError(f"a log of inputs cannot be read: {exc!r}") from exc


def _replay(engine: Engine, numbering: Numbering, data: memoryview) -> int:
    at, samples = _HEADER.size, 0
    while at < len(data):
        if data[at] == SAMPLES:
            _, source, now_ns, n = _BATCH.unpack_from(data, at)
            at += _BATCH.size
            _samples(engine, numbering, source, now_ns, _batch(data, at, n))
            at += n * _SAMPLE_BYTES
            samples += n
        elif data[at] == CALL:
            _, size = _CALL.unpack_from(data, at)
            at += _CALL.size
            name, args, kwargs = unpack(data[at : at + size])
            _call(engine, numbering, name, args, kwargs)
            at += size
        else:
            raise JournalError(f"a log of inputs has an entry of kind {data[at]}, which is unknown")
    return samples


def _batch(data: memoryview, at: int, n: int) -> Batch:
    """Copies: stamps are replaced in place, and kernels want their arrays aligned."""
    slot = np.frombuffer(data, "<i4", n, at).copy()
    t_ns = np.frombuffer(data, "<i8", n, at + 4 * n).copy()
    return Batch(slot, t_ns, np.frombuffer(data, "<f8", n, at + 12 * n).copy())


def _samples(engine: Engine, numbering: Numbering, number: int, now_ns: int, batch: Batch) -> None:
    source, slot = numbering.source(number), numbering.slot(batch.slot)
    if source < 0:
        return
    known = slot >= 0
    gone = len(batch) - int(np.count_nonzero(known))
    if gone:
        engine.count(source, Outcome.UNMATCHED, gone)
        slot, batch = slot[known], Batch(batch.slot, batch.t_ns[known], batch.value[known])
    engine.ingest(source, Batch(slot, batch.t_ns, batch.value), now_ns)


def _call(engine: Engine, numbering: Numbering, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    if name == "hear":
        template, captures, signals = args
        for spec in engine.config.twins:
            if spec.name == template:
                engine.hear(spec, captures)
        twin = substitute(template, captures)
        slots = engine.instance(twin).slots if engine.has(twin) else {}
        numbering.extend([slots.get(signal, -1) for signal in signals])
        return
    if name not in _replayable:
        raise JournalError(f"a log of inputs calls {name!r}, which is unknown")
    if name == "count":
        args[0] = numbering.source(args[0])
        if args[0] < 0:
            return
    if name == "set_noise_learning" and not engine.has(args[0]):
        return
    getattr(engine, name)(*args, **kwargs)
