"""Bytes per value beside swing, deadband, Gorilla-style and zstd, the table of Sim-Piece, and values per second."""

from __future__ import annotations

import csv
import gzip
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from edgetwin.codec.column import ColumnCoder, error_bound
from edgetwin.codec.decoder import FrameDecoder
from edgetwin.codec.encoder import FrameEncoder
from edgetwin.codec.frames import encode_frame
from edgetwin.records import Dynamics, Foreseen, Report

DATA = Path(os.environ.get("EDGETWIN_DATA", "data"))
TWINS = 500
Values = NDArray[np.float64]


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """A record for each row of ``pla_reference.csv`` under ``EDGETWIN_DATA`` (Sim-Piece + zstd and swing as published
    there; deadband, Gorilla-style and zstd or zlib measured here), then the sum. CPU seconds, best of three."""
    coder = ColumnCoder()
    coder.decode(coder.encode(np.random.default_rng(0).normal(size=1000), 0.1))
    gains, seconds, values = [], np.zeros(2), 0
    with (DATA / "pla_reference.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if not quick or row["tolerance_fraction_of_range"] == "0.010"]
    for row in rows:
        x = _series(DATA / row["file"], row["column"])
        tolerance = float(np.ptp(x)) * float(row["tolerance_fraction_of_range"])
        size, encode_s, decode_s = _ours(coder, x, tolerance)
        gains.append(int(row["simpiece_vb_zstd_bytes"]) / size)
        seconds += encode_s, decode_s
        values += len(x)
        yield {
            "bench": "codec",
            "series": row["series"],
            "tolerance_of_range": float(row["tolerance_fraction_of_range"]),
            "values": len(x),
            "bytes_per_value": size / len(x),
            "simpiece_zstd": int(row["simpiece_vb_zstd_bytes"]) / len(x),
            "swing": int(row["swing_bytes"]) / len(x),
            "deadband": deadband(x, tolerance) / len(x),
            "gorilla": gorilla(x) / len(x),
            "zstd" if _zstd() else "zlib": general(x) / len(x),
            "times_smaller_than_simpiece": gains[-1],
            "encode_values_per_s": len(x) / encode_s,
            "decode_values_per_s": len(x) / decode_s,
        }
    yield {
        "bench": "codec",
        "series": "all",
        "times_smaller_than_simpiece_geometric_mean": float(np.exp(np.mean(np.log(gains)))),
        "encode_values_per_s": values / seconds[0],
        "decode_values_per_s": values / seconds[1],
    }
    yield frames(40 if quick else 120)


def frames(n: int) -> dict[str, Any]:
    """``n`` frames of 5 reports of 500 twins whose rates wander, by both codecs.

    A value is a mean with its deviation and quality; the tolerance of a level is twice the noise of its movement.
    """
    one = Report(0, (("m", "x", ""),), np.zeros(1), np.ones(1), np.zeros(1, np.uint8))
    FrameEncoder("compile").encode([one], 0, 0)
    encoder, decoder = FrameEncoder("g", _foresee), FrameDecoder()
    rng = np.random.default_rng(1)
    level, rate = 20 + rng.normal(size=TWINS), np.zeros(TWINS)
    columns = tuple((f"m{i}", s, u) for i in range(TWINS) for s, u in (("temp", "°C"), ("temp_rate", "°C/s")))
    sizes, seconds = np.zeros(2), np.zeros(2)
    for seq in range(n):
        reports = []
        for k in range(5):
            rate = rate * 0.98 + rng.normal(0, 0.02, TWINS)
            level = level + rate + rng.normal(0, 0.03, TWINS)
            std = np.tile([0.05, 0.005], TWINS) * (1 + 0.02 * rng.random(2 * TWINS))
            mean = np.stack([level, rate], axis=1).ravel()
            reports.append(Report((seq * 5 + k) * 10**9, columns, mean, std, np.zeros(2 * TWINS, np.uint8)))
        start = time.process_time()
        data = encoder.encode(reports, 1, seq)
        middle = time.process_time()
        found = decoder.decode(data).reports
        seconds += middle - start, time.process_time() - middle
        sizes += len(data), len(encode_frame(reports, "g", 1, seq))
        if any(
            (np.abs(a.mean - b.mean) > _foresee(columns).tolerance).any() for a, b in zip(reports, found, strict=True)
        ):
            raise AssertionError("a value left its tolerance")
    values = n * 5 * 2 * TWINS
    return {
        "bench": "frames",
        "values": values,
        "twin_1_bytes_per_value": sizes[0] / values,
        "plain_1_bytes_per_value": sizes[1] / values,
        "encode_us_per_value": seconds[0] / values * 1e6,
        "decode_us_per_value": seconds[1] / values * 1e6,
    }


def _foresee(columns: Sequence[tuple[str, str, str]]) -> Foreseen:
    matrix = np.zeros((TWINS, 2, 3), np.float32)
    matrix[:, 0, 2] = 1.0
    dynamics = Dynamics(10**9, np.arange(0, 2 * TWINS, 2), matrix)
    return Foreseen(np.tile([0.1, 0.01], TWINS), (dynamics,) if len(columns) == 2 * TWINS else ())


def _series(path: Path, column: str) -> Values:
    with gzip.open(path, "rt") as file:
        return np.array([float(r[column]) for r in csv.DictReader(file) if r[column] not in ("", "nan")])


def _ours(coder: ColumnCoder, x: Values, tolerance: float) -> tuple[int, float, float]:
    """Bytes, and CPU seconds to encode and decode; the bound is checked on every value."""
    encode_s = decode_s = np.inf
    for _ in range(3):
        start = time.process_time()
        code = coder.encode(x, tolerance)
        middle = time.process_time()
        found = coder.decode(code)
        end = time.process_time()
        encode_s, decode_s = min(encode_s, middle - start), min(decode_s, end - middle)
    if error_bound(x, found) > tolerance:
        raise AssertionError("a value left its tolerance")
    return len(msgpack.packb([code.law.to_wire(), code.payload])), encode_s, decode_s


def deadband(x: Values, tolerance: float) -> int:
    """Report by exception as historians do: value (f64) and index (u32) whenever the last one's band is left."""
    kept, last = 0, np.inf
    for v in x.tolist():
        if not abs(v - last) <= tolerance:
            kept, last = kept + 1, v
    return 12 * kept


def gorilla(x: Values) -> int:
    """Bytes of the XOR coding of values in Pelkonen et al., "Gorilla", VLDB 2015, §4.1.2 (exact, times left out)."""
    bits, lead, size = 64, 65, 0
    words = x.view(np.uint64)
    for xor in (words[1:] ^ words[:-1]).tolist():
        if not xor:
            bits += 1
            continue
        leading, trailing = min(64 - xor.bit_length(), 31), (xor & -xor).bit_length() - 1
        if lead <= leading and 64 - lead - size <= trailing:
            bits += 2 + size
        else:
            lead, size = leading, 64 - leading - trailing
            bits += 2 + 5 + 6 + size
    return (bits + 7) // 8


def general(x: Values) -> int:
    """A general compressor on the doubles as they are: zstd level 3 where pyarrow is installed, else zlib."""
    raw = struct.pack(f"<{len(x)}d", *x.tolist())
    codec = _zstd()
    return len(codec.compress(raw)) if codec else len(zlib.compress(raw, 6))


def _zstd() -> Any:
    try:
        import pyarrow
    except ImportError:
        return None
    return pyarrow.Codec("zstd", compression_level=3)
