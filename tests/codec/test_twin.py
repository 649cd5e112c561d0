"""Frames of codec twin-1: the tolerance on every mean, runs and key frames, and nothing but FrameError for damage."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgetwin.codec import spreads, twin
from edgetwin.codec.columns import Column
from edgetwin.codec.decoder import RUNS_PER_GATEWAY, FrameDecoder, NeedKeyError, decode_frame, identity, run_of
from edgetwin.codec.encoder import KEY_FIRST_S, FrameEncoder
from edgetwin.codec.envelope import seal
from edgetwin.codec.foresight import UNCERTAIN_SHARE
from edgetwin.codec.frames import Frame, FrameGap, FrameTooLargeError, encode_frame
from edgetwin.codec.stream import steps_of
from edgetwin.errors import FrameError
from edgetwin.records import Dynamics, Event, Foreseen, Report
from tests.codec.build import T0, report, reports, same

SECOND = 10**9
TOLERANCE = 0.1


def loose(columns: Sequence[Column]) -> Foreseen:
    return Foreseen(np.full(len(columns), TOLERANCE))


def moving(columns: Sequence[Column]) -> Foreseen:
    """Columns in pairs of a level and its rate."""
    n = len(columns) // 2
    matrix = np.zeros((n, 2, 3), np.float32)
    matrix[:, 0, 2] = 1.0
    return Foreseen(np.tile([TOLERANCE, 0.01], n), (Dynamics(SECOND, np.arange(0, 2 * n, 2), matrix),))


def fleet(n: int, seconds: int, seed: int = 4) -> list[Report]:
    """Levels that move at slowly changing rates, a report each second, with a gap and changes of quality."""
    rng = np.random.default_rng(seed)
    columns = tuple((f"m{i}", state, unit) for i in range(n) for state, unit in (("x", "m"), ("x_rate", "m/s")))
    level, rate, made = rng.normal(20, 5, n), rng.normal(0, 1, n), []
    for k in range(seconds):
        rate = 0.98 * rate + rng.normal(0, 0.02, n)
        level = level + rate + rng.normal(0, 0.02, n)
        std = np.tile([0.05, 0.005], n) * rng.uniform(0.99, 1.01, 2 * n)
        quality = np.full(2 * n, int(k % 40 > 35), np.uint8)
        if k != seconds // 2:
            mean = np.stack([level, rate], axis=1).ravel()
            made.append(Report(T0 + k * SECOND, columns, mean, std, quality))
    return made


def assert_told(sent: Sequence[Report], found: Sequence[Report], tolerance: float | NDArray[np.float64]) -> None:
    assert len(found) == len(sent)
    for a, b in zip(sent, found, strict=True):
        assert (a.t_ns, a.columns, a.quality.tolist()) == (b.t_ns, b.columns, b.quality.tolist())
        assert (np.abs(a.mean - b.mean) <= tolerance).all()
        assert (np.abs(a.std - b.std) <= spreads.RELATIVE * a.std).all()


def sealed(data: bytes) -> bytes:
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "big")


def altered(data: bytes, **changes: Any) -> bytes:
    """The frame with fields of its payload replaced; those of the head by their names too."""
    frame = msgpack.unpackb(data)
    names = ("key", "previous", "bits", "head", "code", "check")
    payload = dict(zip(names, msgpack.unpackb(frame["payload"]), strict=True))
    head = dict(zip(("steps", "models", "reports"), msgpack.unpackb(zlib.decompress(payload["head"])), strict=True))
    head.update({k: changes.pop(k) for k in list(changes) if k in head})
    payload["head"] = zlib.compress(msgpack.packb(list(head.values())))
    payload.update(changes)
    frame["payload"] = msgpack.packb(list(payload.values()))
    return seal(*[frame[k] for k in frame if k not in ("v", "crc")])


# ---- the guarantee


@given(st.lists(reports(), max_size=5), st.sampled_from([0.0, np.nan, 1e-300, 1e-3, 0.5, 1e9, 1e300]))
@settings(deadline=None, max_examples=60)
def test_any_reports_at_any_tolerance(sent: list[Report], tolerance: float) -> None:
    encoder = FrameEncoder("g", lambda columns: Foreseen(np.full(len(columns), tolerance)))
    decoder = FrameDecoder()
    widest: dict[Column, float] = {}
    for seq in range(2):
        frame = decoder.decode(encoder.encode(sent, 1, seq))
        for a, b in zip(sent, frame.reports, strict=True):
            assert (a.t_ns, a.columns, a.quality.tolist()) == (b.t_ns, b.columns, b.quality.tolist())
            for column, x, y, std, told in zip(a.columns, a.mean, b.mean, a.std, b.std, strict=True):
                share = std * UNCERTAIN_SHARE if np.isfinite(std) and std > 0 else 0.0
                bound = widest.setdefault(column, float(share)) if np.isnan(tolerance) else tolerance
                if np.isfinite(x) and bound:
                    assert abs(x - y) <= bound
                else:
                    assert x.tobytes() == y.tobytes()
                if std >= 0:
                    assert told == std or abs(told - std) <= max(spreads.RELATIVE * std, 2.0**-1027)
                else:
                    assert np.isnan(told)


@pytest.mark.parametrize("foresight", [loose, moving])
def test_a_fleet_within_its_tolerances_in_few_bytes(foresight: Any) -> None:
    sent = fleet(20, 240)
    tolerance = foresight(sent[0].columns).tolerance
    encoder, decoder = FrameEncoder("g", foresight), FrameDecoder()
    size = plain = 0
    for seq, start in enumerate(range(0, len(sent), 5)):
        part = sent[start : start + 5]
        data = encoder.encode(part, 1, seq)
        assert_told(part, decoder.decode(data).reports, tolerance)
        size += len(data)
        plain += len(encode_frame(part, "g", 1, seq))
    assert size < plain / 12


def test_the_model_saves_bytes() -> None:
    """A level whose rate changes at random from second to second, told beside it: only the model has it from the rate."""
    rng = np.random.default_rng(8)
    columns = (("m", "x", "m"), ("m", "x_rate", "m/s"))
    level, made = 0.0, []
    for k in range(600):
        rate = rng.normal(0, 3)
        made.append(Report(T0 + k * SECOND, columns, np.array([level, rate]), np.ones(2), np.zeros(2, np.uint8)))
        level += rate

    def size(foresight: Any) -> int:
        return len(FrameEncoder("g", foresight, 1e6).encode(made, 1, 0))

    with_model, without = size(moving), size(lambda c: Foreseen(np.array([TOLERANCE, 0.01])))
    assert with_model < 0.75 * without


def test_without_foresight_means_are_exact() -> None:
    sent = [report(T0 + k, seed=k) for k in range(9)]
    found = decode_frame(FrameEncoder("g").encode(sent, 1, 0)).reports
    for a, b in zip(sent, found, strict=True):
        assert a.mean.tobytes() == b.mean.tobytes()


def test_steps_never_exceed_what_the_tolerance_allows() -> None:
    tolerance = np.array([0.0, 5e-324, 1e-46, 1e-30, 0.1, 1 / 3, 1e38, 1e300, np.inf])
    steps = steps_of(tolerance).astype(np.float64)
    assert (steps <= 2 * tolerance).all() and np.isfinite(steps).all()
    assert steps[:2].tolist() == [0, 0]
    assert (steps[3:7] > 1.999 * tolerance[3:7]).all()


def test_a_steady_deviation_is_told_once_and_stays() -> None:
    told = np.zeros(1, np.int64)
    seen = set()
    for std in 1.0 + 0.01 * np.random.default_rng(0).uniform(-1, 1, 200):
        told = spreads.quantise(np.array([std]), told)
        assert abs(spreads.value(told)[0] - std) <= spreads.RELATIVE * std
        seen.add(int(told[0]))
    assert len(seen) == 1


# ---- runs


def run(n: int, encoder: FrameEncoder | None = None, epoch: int = 1, first: int = 0) -> list[bytes]:
    encoder = encoder or FrameEncoder("g", loose)
    return [encoder.encode([part], epoch, first + k) for k, part in enumerate(fleet(2, n + 1)[:n])]


def test_a_key_frame_stands_alone_and_the_others_continue() -> None:
    frames = run(4)
    assert decode_frame(frames[0]).key == 0
    for k, data in enumerate(frames[1:], 1):
        assert identity(data) == ("g", 1, k) and run_of(data) == ("g", 1, 0)
        with pytest.raises(NeedKeyError) as caught:
            decode_frame(data)
        assert (caught.value.gateway, caught.value.epoch, caught.value.seq, caught.value.key) == ("g", 1, k, 0)


def test_a_frame_that_lacks_its_predecessor_changes_nothing() -> None:
    frames = run(5)
    decoder = FrameDecoder()
    decoder.decode(frames[0])
    for skipped in (2, 3, 4):
        with pytest.raises(NeedKeyError):
            decoder.decode(frames[skipped])
    assert [decoder.decode(data).seq for data in frames[1:]] == [1, 2, 3, 4]


def test_a_requested_key_frame_begins_a_run() -> None:
    encoder = FrameEncoder("g", loose)
    frames = run(3, encoder)
    encoder.request_key()
    later = encoder.encode([fleet(2, 5)[3]], 1, 3)
    assert encoder.run == 3
    assert (decode_frame(later).key, decode_frame(frames[0]).key) == (3, 0)


def test_frames_without_reports_stand_outside_the_run() -> None:
    encoder, decoder = FrameEncoder("g", loose), FrameDecoder()
    a, b = fleet(2, 4)[:2]
    decoder.decode(encoder.encode([a], 1, 0))
    alone = encoder.encode([], 1, 1, [Event("started", T0)], [FrameGap(1, 5, 6, "outbox_full")])
    assert encoder.run is None
    last = encoder.encode([b], 1, 2)
    assert_told([b], decoder.decode(last).reports, TOLERANCE)  # though frame 1 never came
    frame = decode_frame(alone)
    assert (frame.key, frame.codec, frame.events, frame.gaps) == (None, "plain-1", (Event("started", T0),), (FrameGap(1, 5, 6, "outbox_full"),))  # fmt: skip


def test_keys_come_at_intervals_that_grow_and_with_a_new_epoch() -> None:
    encoder = FrameEncoder("g", loose, key_every_s=100)
    keys = []
    for k, part in enumerate(fleet(1, 402)):
        encoder.encode([part], 1, k)
        if encoder.run == k:
            keys.append(part.t_ns // SECOND - T0 // SECOND)
    assert KEY_FIRST_S == 30
    assert keys == [0, 30, 90, 190, 290, 390]
    assert run_of(encoder.encode([fleet(1, 402)[-1]], 2, 999)) == ("g", 2, 999)


def test_a_run_ends_at_its_bytes() -> None:
    encoder = FrameEncoder("g", loose, run_bytes_max=1)
    frames = run(3, encoder)
    assert [decode_frame(data).key for data in frames] == [0, 1, 2]


def test_backlog_and_live_runs_come_beside_each_other() -> None:
    decoder = FrameDecoder()
    old, live = run(6), run(6, epoch=2)
    for a, b in zip(old, live, strict=True):
        assert decoder.decode(b).epoch == 2 and decoder.decode(a).epoch == 1
    assert RUNS_PER_GATEWAY == 2
    decoder.decode(run(1, epoch=3)[0])
    with pytest.raises(NeedKeyError):
        decoder.decode(live[5])


def test_a_decoder_forgets_the_stream_heard_longest_ago() -> None:
    decoder = FrameDecoder(streams_max=2)
    streams = {name: [FrameEncoder(name, loose), []] for name in ("a", "b", "c")}
    parts = fleet(1, 6)
    for name, (encoder, frames) in streams.items():
        frames.extend(encoder.encode([p], 1, k) for k, p in enumerate(parts))  # type: ignore[attr-defined]
        decoder.decode(streams[name][1][0])  # type: ignore[index]
    with pytest.raises(NeedKeyError):
        decoder.decode(streams["a"][1][1])  # type: ignore[index]
    assert decoder.decode(streams["b"][1][1]).seq == 1  # type: ignore[index]


def test_columns_that_come_and_go() -> None:
    """Twins appear, some report seldom, and each report has what it had."""
    rng = np.random.default_rng(3)
    encoder, decoder = FrameEncoder("g", loose, 1e9), FrameDecoder()
    for k in range(60):
        names = [f"m{i}" for i in range(k + 1) if rng.random() < 0.6]
        columns = tuple((name, "x", "") for name in names)
        n = len(columns)
        sent = Report(
            T0 + k, columns, rng.normal(size=n), rng.exponential(size=n), rng.integers(0, 3, n).astype(np.uint8)
        )
        assert_told([sent], decoder.decode(encoder.encode([sent], 1, k)).reports, TOLERANCE)


def test_what_does_not_fit_is_said_and_the_next_frame_is_a_key_frame() -> None:
    encoder = FrameEncoder("g", loose)
    n = twin.VALUES_MAX + 1
    big = Report(T0, (("m", "x", ""),) * n, np.zeros(n), np.ones(n), np.zeros(n, np.uint8))
    run(2, encoder)
    with pytest.raises(FrameTooLargeError):
        encoder.encode([big], 1, 2)
    names = tuple((f"m{i}", "x", "") for i in range(65_537))
    many = Report(T0, names, np.zeros(65_537), np.ones(65_537), np.zeros(65_537, np.uint8))
    with pytest.raises(FrameTooLargeError):
        encoder.encode([many], 1, 2)
    data = encoder.encode(fleet(2, 2)[:1], 1, 2)
    assert decode_frame(data).key == 2


# ---- damage


def test_cut_at_any_byte_or_with_any_bit_flipped_it_is_refused() -> None:
    data = run(1)[0]
    for cut in range(len(data)):
        with pytest.raises(FrameError):
            decode_frame(data[:cut])
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(FrameError):
            decode_frame(bytes(flipped))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_forged_frames_are_refused_or_well_formed_and_the_stream_recovers(data: st.DataObject) -> None:
    """With checksums put right the parser and the arithmetic decoder are reached."""
    decoder = FrameDecoder()
    first, second = run(2)
    decoder.decode(first)
    forged = bytearray(second)
    for _ in range(data.draw(st.integers(1, 3))):
        forged[data.draw(st.integers(0, len(forged) - 5))] = data.draw(st.integers(0, 255))
    try:
        frame = decoder.decode(sealed(bytes(forged)))
    except FrameError:
        pass
    else:
        assert isinstance(frame, Frame) and all(len(r.columns) == len(r) for r in frame.reports)
    assert decoder.decode(first).seq == 0


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_forged_heads_and_codes_are_refused(data: st.DataObject) -> None:
    """What the check over the decoded values does not let pass."""
    whole = FrameEncoder("g", moving).encode(fleet(2, 6), 1, 0)
    code = msgpack.unpackb(msgpack.unpackb(whole)["payload"])[4]
    forged = bytearray(code)
    at = data.draw(st.integers(0, len(code) - 1))
    forged[at] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_frame(altered(whole, code=bytes(forged))).reports
    except FrameError:
        return
    assert_told(fleet(2, 6), found, np.tile([TOLERANCE, 0.01], 2))  # the last bits of the code may mean nothing


U32 = np.array([0], "<u4").tobytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"key": -1},
        {"key": "0"},
        {"bits": 7},
        {"bits": 19},
        {"check": 2**32},
        {"check": 0},
        {"head": b"x"},
        {"head": zlib.compress(b"\xc1")},
        {"head": zlib.compress(bytes(2**24 + 1))},
        {"code": None},
        {"steps": b""},
        {"steps": bytes(3)},
        {"steps": np.array([np.nan] * 4, "<f4").tobytes()},
        {"steps": np.array([-1.0] * 4, "<f4").tobytes()},
        {"reports": [[0, 0]]},
        {"reports": [[0, 16]]},
        {"reports": [[0, np.array([9], "<i4").tobytes()]]},
        {"reports": [[0, np.array([-1], "<i4").tobytes()]]},
        {"reports": [[2**64 - 1, b""]]},
        {"reports": [[0, np.zeros(2**17, "<i4").tobytes()], *[[0, 0]] * 5]},
        {"models": [[0, 1, b"", b"", b""]]},
        {"models": [[1, 65, b"", b"", b""]]},
        {"models": [[1, 1, U32, U32, b""]]},
        {"models": [[1, 1, U32, b"", bytes(8)]]},
        {"models": [[1, 2, np.array([3], "<i4").tobytes(), U32, bytes(24)]]},
        {"models": [[1, 1, np.array([-1], "<i4").tobytes(), U32, bytes(8)]]},
    ],
)
def test_what_is_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    whole = FrameEncoder("g", loose).encode(fleet(2, 3), 1, 0)
    assert decode_frame(altered(whole)).seq == 0
    with pytest.raises(FrameError):
        decode_frame(altered(whole, **changes))


def test_a_model_that_is_forged_to_infinity_predicts_nothing_bad() -> None:
    """Coefficients may be any floats: there is no prediction then, and what follows is caught."""
    whole = FrameEncoder("g", moving).encode(fleet(2, 6), 1, 0)
    model = [SECOND, 2, np.array([0, 2], "<i4").tobytes(), bytes(8), np.full(6, np.inf, "<f4").tobytes()]
    with pytest.raises(FrameError, match=r"damaged|does not decode"):
        decode_frame(altered(whole, models=[model]))


def test_reports_equal_in_all_but_their_payload_are_the_same_frame() -> None:
    a = FrameEncoder("g", loose).encode(fleet(2, 6), 1, 0)
    b = FrameEncoder("g", loose).encode(fleet(2, 6), 1, 0)
    assert a == b and all(map(same, decode_frame(a).reports, decode_frame(b).reports))
