"""What HTTP needs to see of the daemon; nothing here is written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from edgetwin.clock import Clock
from edgetwin.control.controller import Controller
from edgetwin.engine import Engine
from edgetwin.errors import ControlError
from edgetwin.instruments import Histogram
from edgetwin.journal import Journal
from edgetwin.uplink.account import FrameAccount


class SourceView(Protocol):
    """A source; it may be :class:`Timed` and :class:`Polled` as well."""

    @property
    def name(self) -> str:
        """As in the configuration."""

    @property
    def kind(self) -> str:
        """``mqtt``, ``modbus``…"""

    @property
    def up(self) -> bool:
        """Whether samples can come."""

    @property
    def messages(self) -> int:
        """Messages or answers received so far."""

    @property
    def last_error(self) -> str:
        """Why it is down; empty while up."""


@runtime_checkable
class Timed(Protocol):
    """A source that measures the time from the socket to the updated state."""

    @property
    def latency(self) -> Histogram:
        """Seconds, per sample."""


class PolledUnit(Protocol):
    """A device that is asked."""

    @property
    def up(self) -> bool:
        """Whether it answered the last request."""

    @property
    def requests(self) -> Histogram:
        """Seconds from request to answer."""

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Requests so far by outcome."""


@runtime_checkable
class Polled(Protocol):
    """A source that asks devices."""

    @property
    def units(self) -> Mapping[int, PolledUnit]:
        """The devices by Modbus unit identifier."""

    @property
    def overruns(self) -> int:
        """Polls left out so far because those before took too long."""

    def refused(self) -> Sequence[object]:
        """Registers that the devices refuse."""


class UplinkView(Protocol):
    """The way to the cloud."""

    @property
    def up(self) -> bool:
        """Whether the cloud can be reached."""

    @property
    def frames(self) -> Mapping[str, int]:
        """Frames so far by outcome, such as ``acknowledged`` or ``dropped``."""

    @property
    def bytes_total(self) -> int:
        """Bytes of frames handed to the transport so far."""

    @property
    def last_error(self) -> str:
        """Why it is down; empty while up."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes of frames that wait to be acknowledged."""

    @property
    def backlog_age_s(self) -> float:
        """Age of the oldest of them in seconds; 0 when none waits."""

    @property
    def errors(self) -> Mapping[str, int]:
        """Faults so far by reason."""

    @property
    def acks_ignored(self) -> Mapping[str, int]:
        """Answers of the cloud that were not believed, by reason."""

    @property
    def ack_latency(self) -> Histogram:
        """Seconds from sending a frame to its acknowledgement."""


class OutboxView(Protocol):
    """Where frames wait for the cloud."""

    @property
    def account(self) -> FrameAccount:
        """What became of every frame."""


class ActingView(Protocol):
    """The control of outputs."""

    @property
    def token(self) -> str | None:
        """The bearer token of commands; None: they are off."""

    @property
    def controller(self) -> Controller:
        """Outputs, and what carries commands out."""

    async def refused(self, error: ControlError, origin: str) -> None:
        """Audit what never became a command."""


class DaemonView(Protocol):
    """The daemon. Attributes are read anew for every request: a reload may replace any of them."""

    @property
    def engine(self) -> Engine:
        """The twins."""

    @property
    def sources(self) -> Sequence[SourceView]:
        """The sources that run."""

    @property
    def outbox(self) -> OutboxView:
        """Empty when no frames are made."""

    @property
    def uplink(self) -> UplinkView | None:
        """None when no frames are made."""

    @property
    def journal(self) -> Journal | None:
        """None when nothing is durable."""

    @property
    def acting(self) -> ActingView | None:
        """None when the configuration has no outputs."""

    @property
    def loop_lag(self) -> Histogram:
        """How late the event loop wakes, in seconds."""

    @property
    def ready(self) -> bool:
        """Whether start-up is complete and no stop has begun."""

    @property
    def reasons(self) -> Sequence[str]:
        """Why the daemon is not ready; also what is degraded while it is."""

    @property
    def started_ns(self) -> int:
        """Wall time of the start."""

    @property
    def version(self) -> str:
        """Of edgetwin."""

    @property
    def clock(self) -> Clock:
        """Wall and monotonic time."""
