"""The compiled codec of reports: what docs/frames.md prints is decoded by any interpreter, and made again."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgpack
import numpy as np

from edgetwin.codec.columns import Column
from edgetwin.codec.decoder import FrameDecoder
from edgetwin.codec.encoder import FrameEncoder
from edgetwin.records import Dynamics, Foreseen, Report

SECOND = 10**9
T0 = 1_700_000_000 * SECOND
COLUMNS = (("pump", "temp", "°C"), ("pump", "temp_rate", "°C/s"))
KEY = bytes.fromhex(
    "8da17601a767617465776179a7706c616e742d37a565706f6368cf0123456789abcdefa37365712aa27430cf17979cfe"
    "362a0000a27431cf17979cfead5f9400a5636f646563a67477696e2d31a7636f6c756d6e739295a470756d70a474656d"
    "70a3c2b043a974656d705f72617465a5c2b0432f7396000102000304a77061796c6f6164c456962a2a0ac439789c9b7c"
    "84e3c0191f3b86eb8b6d264e3d673deb1403d3111606208092120c70d060cf8004264f6238c201623002f124b04e1805"
    "00a76b13dcc41040007303220056ac832a4eadc5703cc8ce7e645abda77369676e616c73c400a66576656e747390a467"
    "61707390a3637263ce48e8694b"
)
NEXT = bytes.fromhex(
    "8da17601a767617465776179a7706c616e742d37a565706f6368cf0123456789abcdefa37365712ba27430cf17979cfe"
    "e8fa5e00a27431cf17979cff24952800a5636f646563a67477696e2d31a7636f6c756d6e73929090a77061796c6f6164"
    "c428962a2a0ac418789c9b7c8461c2a4490c0c93ce59cf3ac5c0000034dd060bc403409435ce15a4611aa77369676e61"
    "6c73c400a66576656e747390a46761707390a3637263ce5fa83bf9"
)
MEANS = [
    [19.999980926513672, 0.0],
    [20.19998073577881, 0.25999975204467773],
    [20.599980354309082, 0.4999995231628418],
    [21.199979782104492, 0.7599992752075195],
    [21.99997901916504, 0.9999990463256836],
]


def foresight(columns: Sequence[Column]) -> Foreseen:
    matrix = np.array([[[0, 0, 1], [0, 0, 0]]], np.float32)
    return Foreseen(np.array([0.1, 0.01]), (Dynamics(SECOND, np.array([0]), matrix),))


def told(k: int) -> Report:
    mean = np.array([20 + k * k / 8, k / 4])
    return Report(T0 + k * SECOND, COLUMNS, mean, np.array([0.25, 0.0625]), np.array([k % 3 == 2, 0], np.uint8))


def test_the_vectors_are_decoded() -> None:
    decoder = FrameDecoder()
    found = [report for data in (KEY, NEXT) for report in decoder.decode(data).reports]
    assert [r.mean.tolist() for r in found] == MEANS
    for k, report in enumerate(found):
        assert (report.t_ns, report.columns, report.std.tolist()) == (T0 + k * SECOND, COLUMNS, [0.25, 0.0625])
        assert report.quality.tolist() == [k % 3 == 2, 0]
        assert (np.abs(report.mean - told(k).mean) <= [0.1, 0.01]).all()


def parts(data: bytes) -> list[object]:
    """The frame without what depends on the release of zlib."""
    frame = msgpack.unpackb(data)
    key, previous, bits, head, code, check = msgpack.unpackb(frame.pop("payload"))
    del frame["crc"]
    return [frame, key, previous, bits, zlib.decompress(head), code, check]


def test_the_vectors_are_made_again() -> None:
    encoder = FrameEncoder("plant-7", foresight)
    for data, seq, which in ((KEY, 42, range(3)), (NEXT, 43, range(3, 5))):
        made = encoder.encode([told(k) for k in which], 0x0123456789ABCDEF, seq)
        assert parts(made) == parts(data)
