"""A unit behind a link: whether it answers, and when a silent one is asked again (a circuit breaker).

The first failure costs the unit at most one poll, and an answer that cannot be read, which takes no time from others,
is forgiven twice. After that it is left alone for twice its time-out, and for twice as long after each further one, up
to half a minute: what is asked then is the probe. So a dead unit takes an ever smaller share of a shared bus, and the
first answer brings it back in full. Pauses are drawn between half and all of that, so that the probes of many dead
units do not fall together.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from edgetwin.clock import NS
from edgetwin.sources.modbus.frames import DIAGNOSTICS, READ, Request, read_request

Shape = tuple[int, int]

PAUSE_MAX_S = 30.0
GOOD_MAX = 8
"""Readings remembered of each unit."""

_DOUBLINGS_MAX = 20


class Unit:
    """``failures`` in a row; ``resume_ns`` (monotonic) before which it is not polled.

    For RTU, where nothing but its shape (function and length) ties an answer to a request: ``doubtful`` are the shapes
    of answers that may still be under way; ``asked_ns`` (monotonic): when it was last asked anything but a probe;
    ``probe_lost``: the last probe (Return Query Data) had no answer; ``deaf``: and then something else had.
    """

    __slots__ = ("_good", "_rng", "asked_ns", "deaf", "doubtful", "failures", "probe_lost", "resume_ns")

    def __init__(self, rng: random.Random) -> None:
        self.failures = 0
        self.resume_ns = 0
        self.asked_ns = 0
        self.probe_lost = False
        self.deaf = False
        self.doubtful: set[Shape] = set()
        self._good: dict[Shape, Request] = {}
        self._rng = rng

    def wait_ns(self, now_ns: int) -> int:
        """How long it is left alone; 0 when it may be polled."""
        return max(0, self.resume_ns - now_ns)

    def failed(self, now_ns: int, timeout_s: float, *, silent: bool) -> None:
        """No answer (``silent``), or one that could not be read."""
        self.failures += 1
        forgiven = 1 if silent else 2
        if self.failures > forgiven:
            pause_s = 2.0 * timeout_s * 2.0 ** min(self.failures - forgiven - 1, _DOUBLINGS_MAX)
        else:
            pause_s = timeout_s if silent else 0.0
        self.resume_ns = now_ns + round(min(pause_s, PAUSE_MAX_S) * self._rng.uniform(0.5, 1.0) * NS)

    def answered(self) -> None:
        """It is there."""
        self.failures = 0
        self.resume_ns = 0

    def doubt(self, request: Request) -> None:
        """The answer may still come."""
        if request.function != DIAGNOSTICS:
            self.doubtful.add(_shape(request))

    def gave(self, request: Request) -> None:
        """It has answered a reading."""
        shape = _shape(request)
        if shape in self._good or len(self._good) < GOOD_MAX:
            self._good[shape] = request

    def telling(self, request: Request) -> Request | None:
        """A reading whose answer looks like none that may be under way: one given before, or a part of ``request``."""
        for shape, good in self._good.items():
            if shape not in self.doubtful:
                return good
        for part in _parts(request):
            if _shape(part) not in self.doubtful:
                return part
        return None

    def refused(self, request: Request) -> None:
        """Does not give this any more."""
        self._good.pop(_shape(request), None)

    def told(self, request: Request) -> None:
        """It has answered ``request``, which was :meth:`telling`: all before are done with, but for others like it."""
        self.doubtful &= {_shape(request)}
        self.deaf |= self.probe_lost

    def probed(self) -> None:
        """It has answered a probe: all before are done with."""
        self.doubtful.clear()
        self.deaf = self.probe_lost = False


def _shape(request: Request) -> Shape:
    return request.function, request.size


def _parts(request: Request) -> Iterator[Request]:
    """Readings of the first values only."""
    table = {code: name for name, code in READ.items()}.get(request.function)
    if table is None:
        return
    address, count = int.from_bytes(request.pdu[1:3], "big"), int.from_bytes(request.pdu[3:5], "big")
    for fewer in range(1, count, 8 if request.function <= 2 else 1):
        yield read_request(request.unit, table, address, fewer)
