"""A unit behind a link: whether it answers, and when a silent one is asked again (a circuit breaker).

The first failure costs the unit at most one poll, and an answer that cannot be read, which takes no time from others,
is forgiven twice. After that it is left alone for twice its time-out, and for twice as long after each further one, up
to half a minute: what is asked then is the probe. So a dead unit takes an ever smaller share of a shared bus, and the
first answer brings it back in full. Pauses are drawn between half and all of that, so that the probes of many dead
units do not fall together.
"""

from __future__ import annotations

import random

from edgetwin.clock import NS

PAUSE_MAX_S = 30.0
OWED_MAX = 8
"""No device keeps more requests waiting than this; a serial one has a single buffer."""

_DOUBLINGS_MAX = 20


class Unit:
    """``failures`` in a row; ``resume_ns`` (monotonic) before which it is not polled.

    ``owed``: how many answers to earlier requests may still be under way, which RTU could not tell from the next one.
    ``deaf``: it has let a probe (Return Query Data) go by without a word, so it is not probed again.
    """

    __slots__ = ("_rng", "deaf", "failures", "owed", "resume_ns")

    def __init__(self, rng: random.Random) -> None:
        self.failures = 0
        self.resume_ns = 0
        self.owed = 0
        self.deaf = False
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

    def unanswered(self) -> None:
        """A request had no answer, which may still come."""
        self.owed = min(self.owed + 1, OWED_MAX)

    def doubted(self) -> None:
        """Something came that nobody asked for: as if one answer were owed."""
        self.owed = max(self.owed, 1)

    def settled(self) -> None:
        """Nothing older than what is asked next can come any more."""
        self.owed = 0
