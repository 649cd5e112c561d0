"""What the head of a frame says, without decoding the rest."""

from __future__ import annotations

import msgpack

from edgetwin.codec import twin
from edgetwin.errors import FrameError

_HEAD_BYTES = 1_024
"""More than the first six pairs take."""


def newest_time(frame: bytes) -> int | None:
    """Time of the last report in a frame, ns since 1970-01-01 UTC; None when it holds no report.

    FrameError when ``frame`` does not begin like one.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=_HEAD_BYTES)
    unpacker.feed(frame[:_HEAD_BYTES])
    try:
        pairs = unpacker.read_map_header()
        for _ in range(min(pairs, 8)):
            if unpacker.unpack() == "t1":
                t1 = unpacker.unpack()
                return t1 if isinstance(t1, int) and t1 != 0 else None
            unpacker.skip()
    except (ValueError, TypeError, msgpack.UnpackException) as exc:
        raise FrameError("not a frame") from exc
    raise FrameError("the frame has no t1 among its first pairs")


def chain_of(frame: bytes) -> tuple[int, int] | None:
    """Sequence numbers of the key frame of its run and of the frame before in it; a key frame's own, twice. None: it
    stands alone.

    FrameError when ``frame`` is none.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=len(frame))
    unpacker.feed(frame)
    try:
        for _ in range(unpacker.read_map_header()):
            key = unpacker.unpack()
            if key == "codec" and unpacker.unpack() != twin.CODEC:
                return None
            if key == "payload":
                return twin.chain(unpacker.unpack())
            if key != "codec":
                unpacker.skip()
    except (ValueError, TypeError, msgpack.UnpackException) as exc:
        raise FrameError("not a frame") from exc
    raise FrameError("the frame has no payload")
