"""Frames decoded in the runs that they belong to, and what is wanted again of runs that broke off."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable

from edgetwin.codec.contents import Frame
from edgetwin.codec.decoder import FrameDecoder, NeedKeyError, Run, run_of
from edgetwin.errors import FrameError
from edgetwin.receive.sequence import Span

WANTED_MAX = 4_096
"""Broken runs remembered; the oldest is forgotten, and asked for anew when another of its frames comes."""


class Decoding:
    """The decoder, and of each run that it lacks the last frame that has come and could not be read."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self._wanted: OrderedDict[Run, int] = OrderedDict()

    def resume(self, frames: Iterable[bytes]) -> None:
        """Take up the runs of frames decoded before a restart, in their order."""
        for data in frames:
            try:
                self._decoder.decode(data)
            except FrameError:
                continue  # the rest of a run whose beginning is gone

    def decode(self, data: bytes) -> Frame:
        """The frame in ``data``. NeedKeyError, to be told by :meth:`want`, when it continues what is not here."""
        frame = self._decoder.decode(data)
        if frame.key == frame.seq:
            self._forget(frame.gateway)
        elif frame.key is not None:
            run = frame.gateway, frame.epoch, frame.key
            if self._wanted.get(run, -1) <= frame.seq:
                self._wanted.pop(run, None)
        return frame

    def want(self, missing: NeedKeyError) -> None:
        """Ask for a run from its key frame on."""
        run = missing.gateway, missing.epoch, missing.key
        self._wanted[run] = max(self._wanted.get(run, -1), missing.seq)
        self._wanted.move_to_end(run)
        if len(self._wanted) > WANTED_MAX:
            self._wanted.popitem(last=False)

    def repeat(self, data: bytes) -> None:
        """A frame that is stored has come again: the decoder may want it all the same."""
        if self._wanted and run_of(data) in self._wanted:
            with contextlib.suppress(FrameError):  # it is not its turn
                self._decoder.decode(data)

    def wanted(self, gateway: str, epoch: int) -> list[Span]:
        """The frames of an epoch that are wanted again."""
        return [(run[2], seq) for run, seq in self._wanted.items() if run[:2] == (gateway, epoch)]

    def _forget(self, gateway: str) -> None:
        """A new run has begun. Frames of older ones that could not be read are still missing, and are asked for."""
        for run in [run for run in self._wanted if run[0] == gateway]:
            del self._wanted[run]
