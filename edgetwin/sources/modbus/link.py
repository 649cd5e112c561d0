"""One connection, or one serial line, and the units behind it: requests in, checked answers out.

Who may ask is decided by :class:`Turns`. A request has one deadline, however its answer trickles in. What follows a
fault depends on what ties an answer to its request:

* Modbus TCP, TLS, UDP: the transaction id. On the first time-out, wrong frame or surplus byte the connection is
  dropped; nothing that was under way can reach the next one.
* RTU, on a line or over TCP: nothing does. After a time-out the line stays silent for as long again and whatever
  comes is thrown away (over TCP the connection is dropped as well); then the unit is settled (:mod:`settling`).

Source: MODBUS over Serial Line V1.02, sections 2.4.1 (one master, one request at a time) and 2.5.1.1 (silence of 3.5
characters between frames, 1.75 ms above 19200 baud).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS, Clock
from edgetwin.config.modbus_urls import ModbusPlace
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.modbus.frames import (
    DIAGNOSTICS,
    UNREACHED,
    FramingError,
    LinkError,
    NoAnswerError,
    RefusalError,
    Request,
    WrongAnswerError,
    check_answer,
    read_request,
    values_of,
    write_request,
)
from edgetwin.sources.modbus.framing import Framing, Mbap, Rtu
from edgetwin.sources.modbus.settling import settle
from edgetwin.sources.modbus.turns import Turns
from edgetwin.sources.modbus.units import Unit
from edgetwin.sources.modbus.wires import Opener, Wire

RECONNECT_FIRST_S, RECONNECT_MAX_S = 0.5, 10.0
UNPROVED_MAX_S = 1.0
"""Longest pause after connections that were made and then brought nothing but faults."""

RTU_FRAME_MAX = 256
SILENCE_CHARS = 3.5
SILENCE_MIN_NS = 1_750_000
RTU_FRAME_MIN = 5
PAUSED_NS = 10_000_000
"""A silence that a frame seldom has inside, whatever adapters and networks do to it."""

BROADCAST = 0
BROADCAST_TURNAROUND_S = 0.1
TRANSACTION_STEP = 0x9E37
"""Odd, so that every id comes once before one comes again; and not 1, so that a device off by one is caught."""

NOISE_MAX = 8
"""Time-outs of noise on a line after which a request gives up waiting for silence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A checked answer. ``at_ns`` is the middle between request and answer (wall clock), ``took_ns`` their distance."""

    pdu: bytes
    at_ns: int
    took_ns: int


@dataclass(frozen=True, slots=True)
class Words:
    """``values`` uint16[n] registers, or bits as 0 and 1, as they were at ``at_ns`` (wall clock)."""

    values: NDArray[np.uint16]
    at_ns: int
    took_ns: int


@dataclass(slots=True)
class _Exchange:
    """A request that waits for its answer."""

    request: Request
    answer: asyncio.Future[tuple[bytes, int]]
    sent_ns: int = 0


class Link:
    """Requests may be made from any task of the loop. The connection is made when it is needed.

    ``pipeline`` requests are under way at a time (RTU: one). All requests raise RefusalError when the device refuses,
    WrongAnswerError when it answers something else, LinkError when there was no usable answer; ``LinkError.sent`` tells
    a write that may have taken effect from one that was never sent.
    """

    def __init__(
        self,
        place: ModbusPlace,
        open_wire: Opener,
        clock: Clock,
        *,
        pipeline: int = 1,
        rng: random.Random | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.place = place
        self.connections = 0
        self.last_error = "not connected yet"
        self.units: dict[int, Unit] = {}
        self._open_wire = open_wire
        self._clock = clock
        self._rng = rng or random.Random()
        self._framing: Framing = Rtu() if place.rtu else Mbap(datagrams=place.transport == "udp")
        self._turns = Turns(1 if place.rtu else pipeline)
        self._backoff = backoff or Backoff(RECONNECT_FIRST_S, RECONNECT_MAX_S, self._rng)
        self._gap_ns = _gap_ns(place)
        self._connecting = asyncio.Lock()
        self._wire: Wire | None = None
        self._ear: _Ear | None = None
        self._exchanges: dict[int, _Exchange] = {}
        self._waiting: dict[int, Request] = {}
        self._transaction = self._rng.randrange(65536)
        self._heard_ns = 0
        self._quiet_ns = 0
        self._retry_ns = 0
        self._proved = False
        self._unproved = 0
        self._last: Request | None = None
        self._surplus = 0
        self._users = 0

    @property
    def connected(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._wire is not None

    def unit(self, unit: int) -> Unit:
        """The state of a unit."""
        state = self.units.get(unit)
        if state is None:
            state = self.units[unit] = Unit(self._rng)
        return state

    def wait_ns(self, unit: int) -> int:
        """How long a poll of the unit is better left out: it is silent, or the connection was just refused.

        A silent unit is left alone for the sake of others: one that has the link to itself is asked at every poll.
        """
        now_ns = self._clock.monotonic_ns()
        state = self.unit(unit)
        wait_ns = state.wait_ns(now_ns) if len(self.units) > 1 else 0
        return wait_ns if self._wire is not None else max(wait_ns, self._retry_ns - now_ns)

    # ---- requests

    async def read(
        self, unit: int, table: str, address: int, count: int, *, timeout_s: float, urgent: bool = False
    ) -> Words:
        """The registers (or bits) of ``table`` from ``address``."""
        answer = await self.request(read_request(unit, table, address, count), timeout_s=timeout_s, urgent=urgent)
        return Words(values_of(table, count, answer.pdu), answer.at_ns, answer.took_ns)

    async def write(
        self,
        unit: int,
        table: str,
        address: int,
        values: Sequence[int],
        *,
        timeout_s: float,
        single: bool | None = None,
    ) -> Answer:
        """Write ``values`` to holding registers (0 to 65535) or coils (0 or 1), before all reads that wait.

        Returns once the device has echoed it. ``single`` as in :func:`write_request`. A silent unit is asked too.
        """
        request = write_request(unit, table, address, values, single=single)
        return await self.request(request, timeout_s=timeout_s, urgent=True)

    async def request(self, request: Request, *, timeout_s: float, urgent: bool = False) -> Answer:
        """One request and its checked answer. ``timeout_s`` bounds the connecting, and the wait for the answer."""
        await self._turns.take(urgent=urgent)
        try:
            if self._wire is None:
                await self._connect(timeout_s)
            if self.place.rtu:
                unit, now_ns = self.unit(request.unit), self._clock.monotonic_ns()
                nonce = self._rng.randrange(65536)
                await settle(unit, request, now_ns, timeout_s, nonce, lambda probe: self._ask(probe, timeout_s))
                await self._silence(timeout_s)
                if request.unit == BROADCAST:
                    return self._broadcast(request)
            return await self._exchange(request, timeout_s)
        finally:
            self._turns.give()

    # ---- the connection

    def retain(self) -> None:
        """One more user."""
        self._users += 1

    def release(self) -> None:
        """One user less; the connection of the last is closed."""
        self._users -= 1
        if self._users <= 0:
            self.close()

    def close(self) -> None:
        """Drop the connection; the next request makes it anew."""
        self._drop("closed")

    async def _connect(self, timeout_s: float) -> None:
        async with self._connecting:
            if self._wire is not None:
                return
            wait_ns = self._retry_ns - self._clock.monotonic_ns()
            if wait_ns > 0:
                raise LinkError(f"{self.last_error} (again in {wait_ns / NS:.1f} s)")
            ear = _Ear(self)
            try:
                async with asyncio.timeout(timeout_s):
                    wire = await self._open_wire(ear)
            except TimeoutError:
                self._refused(f"cannot connect to {self.place.address} within {timeout_s:g} s")
            except LinkError as exc:
                self._refused(exc.message, exc.hint)
            if ear.broken:
                wire.close()
                self._refused(f"{self.place.address} closes the connection at once")
            self._wire, self._ear = wire, ear
            self.connections += 1
            self._proved = False
            self._framing.reset()

    def _refused(self, message: str, hint: str = "check the url, the device and the network between") -> NoReturn:
        self.last_error = message
        self._pause()
        raise LinkError(message, hint=hint)

    def _pause(self, longest_s: float = RECONNECT_MAX_S) -> None:
        self._retry_ns = self._clock.monotonic_ns() + round(min(self._backoff.next_s(), longest_s) * NS)

    def _drop(self, reason: str, fault: LinkError | None = None) -> None:
        """End the connection and every request on it. A serial line stays open, unless it is lost or closed."""
        self.last_error = reason
        if self._wire is not None and not (self.place.transport == "rtu" and fault is not None):
            if self._ear is not None:
                self._ear.link = None
            self._wire.close()
            self._wire = self._ear = None
        self._framing.reset()
        for exchange in self._exchanges.values():
            if not exchange.answer.done():
                exchange.answer.set_exception(fault or LinkError(reason, sent=True))
        self._waiting.clear()

    # ---- called by the wire

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        now_ns = self._clock.monotonic_ns()
        paused, self._heard_ns = now_ns - self._heard_ns > PAUSED_NS, now_ns
        if self.place.rtu and not self._waiting:
            self._unasked(len(data))
            return
        try:
            for transaction, pdu in self._framing.feed(data, self._waiting, paused=paused):
                del self._waiting[transaction]
                answer = self._exchanges[transaction].answer
                if not answer.done():
                    answer.set_result((pdu, now_ns))
        except FramingError as fault:
            fault.sent = True
            self._drop(fault.message, fault)
            self._pause_unless_proved()

    def lost(self, reason: str) -> None:
        """The connection has broken."""
        self._drop(reason)
        self._pause_unless_proved()

    def _pause_unless_proved(self) -> None:
        """A connection that brought an answer is made anew at once; after two that never did there is a pause."""
        if self._proved:
            return
        self._unproved += 1
        if self._unproved > 1:
            self._pause(UNPROVED_MAX_S)

    # ---- one exchange

    async def _exchange(self, request: Request, timeout_s: float) -> Answer:
        if self._wire is None:  # lost while we waited for silence
            raise LinkError(self.last_error)
        loop = asyncio.get_running_loop()
        transaction = self._transaction = (self._transaction + TRANSACTION_STEP) & 0xFFFF
        exchange = _Exchange(request, loop.create_future())
        frame = self._framing.encode(transaction, request)
        limit_s = timeout_s + self.place.char_s * (len(frame) + request.size + 3)
        timer = loop.call_later(limit_s, self._expired, exchange, timeout_s)
        self._last, self._surplus = request, 0
        self._exchanges[transaction] = exchange
        self._waiting[transaction] = request
        exchange.sent_ns = self._clock.monotonic_ns()
        if request.function != DIAGNOSTICS:
            self.unit(request.unit).asked_ns = exchange.sent_ns
        self._wire.write(frame)
        try:
            pdu, answered_ns = await exchange.answer
        except asyncio.CancelledError:
            self._give_up(request, timeout_s)
            raise
        except LinkError as exc:
            self._failed(request, timeout_s, exc)
            raise
        finally:
            timer.cancel()
            del self._exchanges[transaction]
            self._waiting.pop(transaction, None)
        return self._checked(request, pdu, exchange.sent_ns, answered_ns, timeout_s)

    def _checked(self, request: Request, pdu: bytes, sent_ns: int, answered_ns: int, timeout_s: float) -> Answer:
        unit = self.unit(request.unit)
        try:
            check_answer(request, pdu)
        except RefusalError as exc:
            exc.took_ns = answered_ns - sent_ns
            self._proved = True
            if exc.code in UNREACHED:
                unit.failed(answered_ns, timeout_s, silent=True)
                if self.place.rtu:  # a gateway has spoken for it
                    unit.doubt(request)
            else:
                self._well(unit)
            raise
        except WrongAnswerError:
            if self.place.rtu:  # perhaps that of an earlier request
                self._give_up(request, timeout_s)
            raise
        self._well(unit)
        if self.place.rtu and request.function <= 4:
            unit.gave(request)
        took_ns = answered_ns - sent_ns
        now_ns = self._clock.monotonic_ns()
        return Answer(pdu, self._clock.wall_ns() - (now_ns - answered_ns) - took_ns // 2, took_ns)

    def _well(self, unit: Unit) -> None:
        self._proved = True
        self._unproved = 0
        self.last_error = ""
        self._backoff.reset()
        unit.answered()

    def _expired(self, exchange: _Exchange, timeout_s: float) -> None:
        if exchange.answer.done():
            return
        hint = "check the unit id, or raise timeout"
        fault = NoAnswerError(f"no answer within {timeout_s:g} s", hint=hint, sent=True)
        exchange.answer.set_exception(fault)
        self._drop(fault.message, LinkError(f"dropped, as unit {exchange.request.unit} did not answer", sent=True))

    def _failed(self, request: Request, timeout_s: float, exc: LinkError) -> None:
        """What a request that failed says about its unit."""
        culprit = isinstance(exc, (NoAnswerError, FramingError))
        state = self.unit(request.unit)
        if culprit:
            state.failed(self._clock.monotonic_ns(), timeout_s, silent=isinstance(exc, NoAnswerError))
        if self.place.rtu:
            state.doubt(request)
            self._quiet(timeout_s if isinstance(exc, NoAnswerError) else 0.0)

    def _give_up(self, request: Request, timeout_s: float) -> None:
        """Nobody waits for the answer any more, but it may come."""
        self._drop("request given up", LinkError("dropped, as another request was given up", sent=True))
        if self.place.rtu:
            self.unit(request.unit).doubt(request)
            self._quiet(timeout_s)

    # ---- RTU only

    def _quiet(self, pause_s: float) -> None:
        """No request before ``pause_s``, and, on a line, before the longest frame that may be under way has ended."""
        tail_s = pause_s + RTU_FRAME_MAX * self.place.char_s
        self._quiet_ns = max(self._quiet_ns, self._clock.monotonic_ns() + round(tail_s * NS))

    async def _silence(self, timeout_s: float) -> None:
        """Wait until the line is free: the pause after a fault is over, and the gap since the last byte."""
        give_up_ns = self._clock.monotonic_ns() + round(NOISE_MAX * (timeout_s + 1.0) * NS)
        while True:
            now_ns = self._clock.monotonic_ns()
            wait_ns = max(self._quiet_ns, self._heard_ns + self._gap_ns) - now_ns
            if wait_ns <= 0:
                return
            if now_ns > give_up_ns:
                raise LinkError("the line is never silent", hint="check wiring, baudrate and parity")
            await asyncio.sleep(wait_ns / NS)

    def _unasked(self, size: int) -> None:
        """Noise, or what is left of an answer given up; when it is as long as an answer, perhaps one sent twice."""
        self._surplus += size
        if self._surplus >= RTU_FRAME_MIN and self._last is not None:
            self.unit(self._last.unit).doubt(self._last)

    def _broadcast(self, request: Request) -> Answer:
        """Every unit of the line obeys and none answers; they are given time to do so."""
        if self._wire is None:
            raise LinkError(self.last_error)
        self._wire.write(self._framing.encode(0, request))
        self._quiet(BROADCAST_TURNAROUND_S)
        return Answer(b"", self._clock.wall_ns(), 0)

    async def _ask(self, request: Request, timeout_s: float) -> None:
        """An exchange for the sake of having an answer."""
        await self._silence(timeout_s)
        await self._exchange(request, timeout_s)


class _Ear:
    """A link's listener on one connection: a connection that was dropped is not heard any more."""

    def __init__(self, link: Link) -> None:
        self.link: Link | None = link
        self.broken = False

    def received(self, data: bytes) -> None:
        if self.link is not None:
            self.link.received(data)

    def lost(self, reason: str) -> None:
        self.broken = True
        if self.link is not None:
            self.link.lost(reason)


def _gap_ns(place: ModbusPlace) -> int:
    """Silence between two frames on a serial line."""
    if place.transport != "rtu":
        return 0
    if place.baudrate > 19_200:
        return SILENCE_MIN_NS
    return round(SILENCE_CHARS * place.char_s * NS)
