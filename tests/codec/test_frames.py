"""Frames: exact round trip, a fixed vector, and nothing but FrameError for anything else."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.codec.frames import Frame, FrameGap, FrameTooLargeError, decode_frame, encode_frame
from edgetwin.codec.limits import RAW_BYTES_MAX
from edgetwin.errors import FrameError
from edgetwin.kernels.residuals import WHOLE_NUMBER
from edgetwin.records import Event, Report
from tests.codec.build import EVENTS, I64, T0, U64, gaps, report, reports, same
from tests.kernels.test_reports import KEY, NEXT
from tests.kernels.test_residuals import VECTORS

# The vector of docs/frames.md.
VECTOR = bytes.fromhex(
    "8da17601a767617465776179a7706c616e742d37a565706f6368cf0123456789abcdefa37365712aa27430cf17979cfe"
    "362a0000a27431cf17979cfe71c4ca00a5636f646563a7706c61696e2d31a7636f6c756d6e739295a470756d70a47465"
    "6d70a3c2b043a4666c6f77a36c2f7396000102000304a77061796c6f6164c4427801636200012db37f73a68b3381d90c"
    "0c8c509aa1c1c461d64c10d8690f11ba605f2db2cefd61558b3d50d1a92385205d20d5701d0c3ff643353b300100654a"
    "1325a77369676e616c73c400a66576656e74739193a773746172746564cf17979cfe362a000081a776657273696f6ea5"
    "302e312e30a4676170739195cf0123456789abcdef0305ab6f7574626f785f66756c6c60a3637263cea408c183"
)


def equal(a: Frame, b: Frame) -> bool:
    heads = [(f.gateway, f.epoch, f.seq, f.t0, f.t1, f.codec, f.events, f.gaps, len(f.reports)) for f in (a, b)]
    return heads[0] == heads[1] and all(map(same, a.reports, b.reports))


def sealed(data: bytes) -> bytes:
    """``data`` with its checksum put right, so that what lies behind the checksum is reached."""
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "big")


def rewritten(**changes: Any) -> bytes:
    """A frame with fields of the map replaced, added or (``...``) taken away."""
    fields = msgpack.unpackb(encode_frame([report()], "g", 1, 2))
    fields.update(changes)
    return sealed(msgpack.packb({k: v for k, v in fields.items() if v is not ... and k != "crc"} | {"crc": 2**32 - 1}))


@given(
    st.lists(reports(), max_size=4),
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=128),
    U64,
    U64,
    st.lists(EVENTS, max_size=3),
    st.lists(gaps(), max_size=3),
)
def test_round_trip_is_exact(sent: list[Report], gateway: str, epoch: int, seq: int, events: Any, lost: Any) -> None:
    frame = decode_frame(encode_frame(sent, gateway, epoch, seq, events, lost))
    assert (frame.gateway, frame.epoch, frame.seq) == (gateway, epoch, seq)
    assert frame.t0 == min([r.t_ns for r in sent] or [0])
    assert frame.t1 == max([r.t_ns for r in sent] or [0])
    assert len(frame.reports) == len(sent)
    assert all(map(same, frame.reports, sent))
    assert (list(frame.events), list(frame.gaps)) == (events, lost)


def test_reports_that_share_columns_in_another_order_keep_theirs() -> None:
    a = report(twins=4)
    turned = np.arange(len(a))[::-1]
    b = Report(T0 + 1, a.columns[::-1], a.mean[turned], a.std[turned], a.quality[turned])
    frame = decode_frame(encode_frame([a, b], "g", 0, 0))
    assert all(map(same, frame.reports, [a, b]))


def test_decoded_arrays_are_owned_and_writable() -> None:
    (decoded,) = decode_frame(encode_frame([report()], "g", 0, 0)).reports
    for part in (decoded.mean, decoded.std, decoded.quality):
        assert part.flags.owndata and part.flags.writeable


def test_the_vector_of_the_specification() -> None:
    frame = decode_frame(VECTOR)
    assert (frame.gateway, frame.epoch, frame.seq) == ("plant-7", 0x0123456789ABCDEF, 42)
    assert (frame.t0, frame.t1, frame.codec) == (T0, T0 + 10**9, "plain-1")
    first, second = frame.reports
    assert first.columns == (("pump", "temp", "°C"), ("pump", "flow", "l/s"))
    assert (first.mean.tolist(), first.std.tolist(), first.quality.tolist()) == ([20.5, 0.1], [0.25, 0.01], [0, 1])
    assert second.columns == (("pump", "flow", "l/s"),)
    assert (second.mean.tolist(), second.std.tolist(), second.quality.tolist()) == ([-1.5], [2.0], [2])
    assert frame.events == (Event("started", T0, {"version": "0.1.0"}),)
    assert frame.gaps == (FrameGap(0x0123456789ABCDEF, 3, 5, "outbox_full", 96),)
    again = encode_frame(frame.reports, frame.gateway, frame.epoch, frame.seq, frame.events, frame.gaps)
    assert equal(decode_frame(again), frame)


# ---- what is no frame


@given(st.data())
@settings(max_examples=300)
def test_a_cut_or_flipped_frame_is_refused(data: st.DataObject) -> None:
    frame = encode_frame([report(), report(T0 + 5, seed=1)], "g", 7, 9, [Event("e", 1, {"a": 1})])
    at = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(FrameError):
        decode_frame(frame[:at])
    flipped = bytearray(frame)
    flipped[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        decode_frame(bytes(flipped))
    with pytest.raises(FrameError):
        decode_frame(frame + bytes(1 + at % 7))


@given(st.data())
@settings(max_examples=500)
def test_a_forged_frame_is_refused_or_well_formed(data: st.DataObject) -> None:
    """Damage with a right checksum gets past it; the decoder still raises FrameError or gives a whole frame."""
    forged = bytearray(encode_frame([report()], "g", 7, 9, [Event("e", 1, {"a": 1})], [FrameGap(1, 2, 3, "r")]))
    for _ in range(data.draw(st.integers(1, 3))):
        forged[data.draw(st.integers(0, len(forged) - 1))] = data.draw(st.integers(0, 255))
    try:
        frame = decode_frame(sealed(bytes(forged)))
    except FrameError:
        return
    assert equal(decode_frame(encode_frame(frame.reports, frame.gateway, frame.epoch, frame.seq, frame.events, frame.gaps)), frame)  # fmt: skip


@given(st.data())
@settings(max_examples=300)
def test_a_forged_payload_is_refused_or_well_formed(data: st.DataObject) -> None:
    fields = msgpack.unpackb(encode_frame([report()], "g", 1, 2))
    raw = bytearray(zlib.decompress(fields["payload"]))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)) | st.just(len(raw)))
    try:
        frame = decode_frame(rewritten(payload=zlib.compress(bytes(raw[:cut]))))
    except FrameError:
        return
    assert frame.values == 6


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frame(data)
    with pytest.raises(FrameError):
        decode_frame(sealed(b"\x8c\xa1v\x01" + data + b"\xa3crc\xce" + bytes(4)))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"v": 2}, "newer"),
        ({"v": 0}, "not a frame"),
        ({"epoch": -1}, "epoch"),
        ({"seq": 1.0}, "seq"),
        ({"seq": True}, "seq"),
        ({"gateway": b"g"}, "gateway"),
        ({"gateway": ""}, "gateway"),
        ({"t0": 1}, "t0"),
        ({"t1": None}, "t1"),
        ({"codec": "twin-2"}, "codec"),
        ({"columns": []}, "columns"),
        ({"columns": [["a"], [0, 0]]}, "three names"),
        ({"columns": [["a"], [0, 0, 1]]}, "outside"),
        ({"columns": [["a"], [0, 0, -1]]}, "outside"),
        ({"columns": [["a"], [0, 0, 0]]}, "column that is not there"),
        ({"columns": [[1], [0, 0, 0]]}, "text"),
        ({"payload": "x"}, "binary"),
        ({"payload": b""}, "zlib"),
        ({"payload": zlib.compress(b"\0\0\0\0") + b"x"}, "zlib"),
        ({"payload": zlib.compress(b"\xff\xff\xff\xff")}, "ends"),
        ({"events": [["e", 1, {"a": []}]]}, "scalar"),
        ({"events": [["e", 1, {"a": msgpack.Timestamp(1)}]]}, "msgpack"),
        ({"events": {}}, "events"),
        ({"gaps": [[1, 3, 2, "r", 0]]}, "ends before"),
        ({"gaps": [[1, 2]]}, "gap"),
        ({"gaps": ...}, "damaged"),
        ({"extra": 1}, "damaged"),
    ],
)
def test_a_well_sealed_lie_is_named(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(FrameError, match=what):
        decode_frame(rewritten(**changes))


def test_a_zip_bomb_is_refused() -> None:
    bomb = zlib.compress(bytes(RAW_BYTES_MAX + 1), 9)
    assert len(bomb) < RAW_BYTES_MAX // 500
    with pytest.raises(FrameError, match="more than"):
        decode_frame(rewritten(payload=bomb))


def test_deep_nesting_is_refused() -> None:
    deep = b"\x91" * 5000 + b"\x90"
    with pytest.raises(FrameError):
        decode_frame(sealed(b"\x8c\xa1v\x01" + deep + b"\xa3crc\xce" + bytes(4)))


def test_headers_that_claim_more_than_there_is_are_refused() -> None:
    claims = b"\xdd\x00\x02\xff\xff" * 1_000
    with pytest.raises(FrameError):
        decode_frame(sealed(b"\x8c\xa1v\x01" + claims + b"\xa3crc\xce" + bytes(4)))


# ---- what cannot be written


def test_what_cannot_be_written_is_refused_when_encoding() -> None:
    good = report()
    uneven = Report(good.t_ns, good.columns, good.mean[:-1], good.std, good.quality)
    surrogate = Report(good.t_ns, (("\ud800", "s", "u"),), good.mean[:1], good.std[:1], good.quality[:1])
    for bad in (uneven, surrogate, Report(2**63, good.columns, good.mean, good.std, good.quality)):
        with pytest.raises(FrameError):
            encode_frame([bad], "g", 1, 2)
    for epoch, seq in ((-1, 0), (2**64, 0), (0, 2**64)):
        with pytest.raises(FrameError):
            encode_frame([good], "g", epoch, seq)
    with pytest.raises(FrameError):
        encode_frame([good], "g", 1, 2, [Event("e", 1, {"a": object()})])  # type: ignore[dict-item]


def test_too_much_for_one_frame_is_told_apart() -> None:
    n = 300_000
    big = Report(T0, (("m", "s", "u"),) * n, np.random.default_rng(1).normal(size=n), np.ones(n), np.zeros(n, np.uint8))
    with pytest.raises(FrameTooLargeError):
        encode_frame([big] * 2, "g", 1, 2)
    with pytest.raises(FrameTooLargeError):
        encode_frame([big] * 3, "g", 1, 2)


@given(I64)
def test_times_of_any_sign_survive(t_ns: int) -> None:
    assert decode_frame(encode_frame([report(t_ns)], "g", 0, 0)).t0 == t_ns


def test_the_specification_shows_the_vectors() -> None:
    page = (Path(__file__).parents[2] / "docs" / "frames.md").read_text(encoding="utf-8")
    blocks = page.partition("## Vectors")[2].split("```")[1::2]
    numbers = bytes.fromhex(VECTORS[WHOLE_NUMBER, 0])
    assert [bytes.fromhex(block) for block in blocks] == [VECTOR, KEY, NEXT, numbers]
