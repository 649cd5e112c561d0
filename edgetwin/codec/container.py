"""A file of frames (``.etf``): each as docs/frames.md specifies it, after its length, and nothing else.

::

    file = { u32 length (little-endian), frame: length bytes }

A file that was cut is whole up to the last whole frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

from edgetwin.codec.limits import FRAME_BYTES_MAX
from edgetwin.errors import FrameError

_LENGTH = struct.Struct("<I")


def append_frame(file: IO[bytes], frame: bytes) -> int:
    """Write one frame at the end of ``file``; returns the bytes it took."""
    return file.write(_LENGTH.pack(len(frame))) + file.write(frame)


def read_frames(file: IO[bytes]) -> Iterator[bytes]:
    """The frames of a file from where it stands, undecoded.

    FrameError, with the byte, where it is cut or when it is another kind of file.
    """
    position = 0
    while head := file.read(_LENGTH.size):
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
        if len(head) == _LENGTH.size and not 1 <= length <= FRAME_BYTES_MAX:
            raise FrameError(f"byte {position}: a frame of {length} bytes", hint="this is not a file of frames")
        frame = file.read(length)
        if len(head) < _LENGTH.size or len(frame) < length:
            raise FrameError(f"byte {position}: the file ends inside a frame", hint="it was cut; copy it again")
        yield frame
        position += _LENGTH.size + length
