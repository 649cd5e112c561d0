from __future__ import annotations

import itertools
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from edgetwin.clock import NS
from edgetwin.codec.container import read_frames
from edgetwin.codec.decoder import FrameDecoder
from edgetwin.codec.foresight import UNCERTAIN_SHARE
from edgetwin.codec.spreads import RELATIVE
from edgetwin.engine import Engine
from edgetwin.errors import ConfigError, SourceError
from edgetwin.records import Batch, Outcome, Report
from edgetwin.replay.feed import Block, bind, merged
from edgetwin.replay.run import FILES, replay
from tests.config.support import contract
from tests.replay.build import ONE, T0, TWO, configured, run, table, write, write_two

UPLINK = "uplink: {kind: mqtt, url: 'mqtt://127.0.0.1', every: 10s}\n"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    write_two(folder)
    run(folder, TWO)
    return folder


def samples(folder: Path, text: str) -> tuple[Engine, list[tuple[int, int, int, int, float]]]:
    """A fresh engine and (source, slot, t_ns, now_ns, value) of every sample, in order."""
    config = configured(folder, text)
    engine = Engine(config)
    found = [
        row
        for b in merged(bind(config, engine, folder))
        for row in zip(
            b.source.tolist(), b.slot.tolist(), b.t_ns.tolist(), b.now_ns.tolist(), b.value.tolist(), strict=True
        )
    ]
    return engine, found


def ingest(engine: Engine, source: int, slot: int, t_ns: int, value: float, now_ns: int) -> None:
    engine.ingest(source, Batch(np.array([slot], np.int32), np.array([t_ns]), np.array([value])), now_ns)


def stepwise(folder: Path, text: str) -> tuple[Engine, list[Report], list[tuple[str, str, str, float, float]]]:
    """The same samples through the daemon's own calls, one by one: the engine, its reports at every tick of a clock, and
    the states of the twins that had a sample, at every instant.

    Quality is without the health of the filters, which a replay leaves out of its reports (docs/replay.md).
    """
    engine, found = samples(folder, text)
    engine.quality_of_rows = lambda number, at: engine.banks[number].status(at).quality  # type: ignore[method-assign]
    twin_of = {slot: twin.name for twin in engine.instances() for slot in twin.slots.values()}
    reports: list[Report] = []
    states: list[tuple[str, str, str, float, float]] = []
    tick = NS // 4  # divides every interval and falls on every instant that matters
    clock = found[0][3] // tick * tick - 6 * NS  # the daemon was there before the first sample
    for now, group in itertools.groupby(found, key=lambda s: s[3]):
        while clock < now:
            reports += engine.report(clock)
            clock += tick
        heard = set()
        for source, slot, t_ns, _, value in group:
            ingest(engine, source, slot, t_ns, value, now)
            heard.add(twin_of[slot])
        for name in engine.names():
            if name in heard:
                estimate = engine.estimate(name, now, now)
                states += [
                    (format(Decimal(now) / NS, "f"), name, state, s.mean, s.std)
                    for state, s in estimate.states.items()
                    if not np.isnan(s.mean)
                ]
    for _ in range(12):
        reports += engine.report(clock)
        clock += tick
    return engine, reports, states


def test_the_states_are_those_of_the_daemon(two: Path) -> None:
    _, _, expected = stepwise(two, TWO)
    rows = table(two / "out" / "states.csv")
    assert [(Decimal(r["t"]), r["twin"], r["state"]) for r in rows] == [
        (Decimal(t), n, s) for t, n, s, _, _ in expected
    ]
    assert [(float(r["mean"]), float(r["std"])) for r in rows] == [(mean, std) for *_, mean, std in expected]


def test_the_frames_hold_the_reports_of_the_daemon(two: Path) -> None:
    fresh, _ = samples(two, TWO)
    _, expected, _ = stepwise(two, TWO)
    widest: dict[tuple[str, str, str], float] = {}
    close = 0
    with (two / "out" / "frames.etf").open("rb") as file:
        frames = list(map(FrameDecoder().decode, read_frames(file)))
    assert [(f.gateway, f.epoch, f.seq) for f in frames] == [("g", 0, k) for k in range(len(frames))]
    reports = [r for f in frames for r in f.reports]
    assert len(reports) > 100
    for got, wanted in zip(reports, expected, strict=True):
        assert got.t_ns == wanted.t_ns
        assert got.columns == wanted.columns
        np.testing.assert_array_equal(got.quality, wanted.quality)
        assert (np.abs(got.std - wanted.std) <= RELATIVE * wanted.std).all()
        known = fresh.foresee(got.columns).tolerance
        for k, (column, a, b) in enumerate(zip(got.columns, got.mean.tolist(), wanted.mean.tolist(), strict=True)):
            widest[column] = max(widest.get(column, 0.0), UNCERTAIN_SHARE * float(wanted.std[k]))
            assert abs(a - b) <= (widest[column] if np.isnan(known[k]) else known[k]), (column, a, b)
            close += abs(a - b) > 0
    assert close > 100  # it is the codec with a tolerance
    spans = [f.t1 - f.t0 for f in frames]
    assert max(spans) <= 5 * NS  # the default of uplink.every, on a tick of one second
    assert len({int(q) for r in reports for q in r.quality}) == 3


def test_a_traced_engine_ends_where_a_plain_one_does(two: Path) -> None:
    engine, _, _ = stepwise(two, TWO)
    traced, found = samples(two, TWO)
    source, slot, t_ns, now, value = (np.array(column) for column in zip(*found, strict=True))
    batch = Batch(slot.astype(np.int32), t_ns, value)
    trace = traced.ingest_traced(source.astype(np.int32), batch, int(now[-1]))
    np.testing.assert_array_equal(traced.ledger.counts, engine.ledger.counts)
    np.testing.assert_array_equal(traced.ledger.received, engine.ledger.received)
    assert traced.ledger.balanced()
    for one, other in zip(traced.banks, engine.banks, strict=True):
        for name in set(one.rows.dtype.names or ()) - {"reported"}:
            np.testing.assert_array_equal(one.rows[name], other.rows[name], err_msg=name)
    assert {Outcome(int(o)) for o in trace.outcome} >= {
        Outcome.FUSED, Outcome.LATE_FUSED, Outcome.GATED, Outcome.LATE_DROPPED, Outcome.OUT_OF_RANGE
    }  # fmt: skip
    judged = np.isin(trace.outcome, [Outcome.FUSED, Outcome.LATE_FUSED, Outcome.GATED])
    assert not np.isnan(trace.nis[~judged]).size or np.isnan(trace.nis[~judged]).all()
    known = ~np.isnan(trace.nis)
    np.testing.assert_allclose(
        trace.nis[known], ((trace.value - trace.predicted) / trace.std)[known] ** 2, rtol=1e-9, atol=1e-18
    )


def test_a_late_sample_is_compared_with_what_was_known_before_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    rows = [(T0 + 2 * k, float(x)) for k, x in enumerate(np.cumsum(rng.normal(size=90)))]
    moved = list(rows)
    for k in range(20, 90, 10):
        moved[k : k + 3] = [rows[k + 1], rows[k + 2], rows[k]]
    tables = []
    for name, recorded in (("in-order", rows), ("late", moved)):
        write(tmp_path / "file.csv", ["t", "x"], recorded)
        out = run(tmp_path, ONE.replace("signals:", "lateness: 10s\n    signals:"), name)
        tables.append({r["t"]: r for r in table(out / "scores.csv")})
        summary = json.loads((out / "summary.json").read_text())
        assert summary["sources"]["file"]["late_fused"] == (0 if name == "in-order" else 7)
    for k in range(20, 90, 10):
        one, other = (t[str(T0 + 2 * k)] for t in tables)
        assert {c: one[c] for c in ("value", "predicted", "std", "nis")} == {
            c: other[c] for c in ("value", "predicted", "std", "nis")
        }
    last = [table(tmp_path / name / "states.csv")[-2:] for name in ("in-order", "late")]
    assert last[0] == last[1]


def test_every_sample_has_a_score(two: Path) -> None:
    engine, found = samples(two, TWO)
    names = [(t.name, s) for t in engine.instances() for s in t.slots]
    rows = table(two / "out" / "scores.csv")
    assert len(rows) == len(found)
    for row, (_, slot, t_ns, _, value) in zip(rows, found, strict=True):
        assert (row["twin"], row["signal"]) == names[slot]
        assert Decimal(row["t"]) * NS == t_ns
        scaled = 2 * value + 1 if row["twin"] == "other" else value
        assert float(row["value"]) == scaled
        assert 0 <= float(row["score"]) <= 1
        assert (row["predicted"] == "") == (row["nis"] == "") == (row["std"] == "")
    (out_of_range,) = [r for r in rows if r["twin"] == "pump" and r["value"] == "900.0"]
    assert (out_of_range["score"], out_of_range["nis"]) == ("1.0", "")
    assert all(r["score"] == "0.0" for r in rows if r["signal"] == "flow")


@pytest.mark.parametrize("every_s", [None, 2.5])
def test_the_results_do_not_depend_on_how_the_files_are_cut(two: Path, every_s: float | None) -> None:
    whole = run(two, TWO, "whole", every_s=every_s)
    again = run(two, TWO, "again", every_s=every_s)
    cut = run(two, TWO, "cut", every_s=every_s, samples_max=7)
    for name in FILES:
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    assert sorted(p.name for p in cut.iterdir()) == sorted(FILES)


def test_the_grid(two: Path) -> None:
    out = run(two, TWO, "grid", every_s=2.5)
    engine, found = samples(two, TWO)
    rows = defaultdict(list)
    for row in table(out / "states.csv"):
        rows[Decimal(row["t"])].append((row["twin"], row["state"], float(row["mean"]), float(row["std"])))
    last = 0
    instants = range(-(-found[0][3] // (5 * NS // 2)), found[-1][3] // (5 * NS // 2) + 1)
    assert list(rows) == [Decimal(k) * Decimal("2.5") for k in instants]
    for t, states in rows.items():
        while last < len(found) and found[last][3] <= t * NS:
            source, slot, t_ns, now, value = found[last]
            ingest(engine, source, slot, t_ns, value, now)
            last += 1
        expected = []
        for name in engine.names():
            estimate = engine.estimate(name, int(t * NS), int(t * NS))
            expected += [(name, s, e.mean, e.std) for s, e in estimate.states.items() if not np.isnan(e.mean)]
        assert states == expected


def test_the_summary_agrees_with_the_scores(two: Path) -> None:
    summary = json.loads((two / "out" / "summary.json").read_text())
    rows = [r for r in table(two / "out" / "scores.csv") if (r["twin"], r["signal"]) == ("pump", "copy")]
    known = [r for r in rows if r["nis"]]
    error = np.array([float(r["value"]) - float(r["predicted"]) for r in known])
    nis = np.array([float(r["nis"]) for r in known])
    got = summary["twins"]["pump"]["signals"]["copy"]
    assert got["samples"] == len(rows)
    assert got["predicted"] == len(known)
    assert got["gated"] > 0
    assert got["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert got["coverage_95"] == pytest.approx(np.mean(nis <= 3.841458820694124))
    ledger = summary["sources"]
    assert set(ledger) == {"a", "b"}
    assert all(sum(counts.values()) == 2 * counts["received"] for counts in ledger.values())
    assert summary["samples"] == sum(counts["received"] for counts in ledger.values())
    assert summary["twins"]["tank"]["signals"]["flow"]["rmse"] is None
    assert summary["frames"]["bytes"] == (two / "out" / "frames.etf").stat().st_size
    assert "wall" not in json.dumps(summary)


def test_frames_follow_the_uplink(two: Path) -> None:
    few = run(two, TWO + UPLINK, "few")
    with (few / "frames.etf").open("rb") as file:
        spans = [(f.t1 - f.t0) // NS for f in map(FrameDecoder().decode, read_frames(file))]
    assert 5 < max(spans) <= 10


# ---- merging


def blocks(folder: Path, text: str, samples_max: int) -> list[Block]:
    config = configured(folder, text)
    return list(merged(bind(config, Engine(config), folder), samples_max))


@pytest.mark.parametrize("samples_max", [1, 3, 65_536])
def test_merging_is_by_the_clock_then_by_the_order_of_the_sources(two: Path, samples_max: int) -> None:
    parts = blocks(two, TWO, samples_max)
    assert max(len(part) for part in parts) <= samples_max
    keys = [k for part in parts for k in zip(part.now_ns.tolist(), part.source.tolist(), strict=True)]
    assert keys == sorted(keys)
    late = [t < now for part in parts for t, now in zip(part.t_ns.tolist(), part.now_ns.tolist(), strict=True)]
    assert any(late)


def test_a_wild_time_stamp_holds_nothing_back(tmp_path: Path) -> None:
    """The clock of the file stands still after it, which must not gather the whole file in memory."""
    write(tmp_path / "a.csv", ["t", "x"], [[T0 + k + (9e8 if k == 3 else 0), k] for k in range(5000)])
    write(tmp_path / "b.csv", ["t", "x"], [[T0 + k, k] for k in range(5000)])
    text = ONE.replace("path: file.csv}", "path: a.csv}\n  - {name: b, kind: csv, path: b.csv}")
    text += "      y: {source: b, column: x}\n"
    parts = blocks(tmp_path, text, 1000)
    assert sum(len(part) for part in parts) == 10_000
    assert max(len(part) for part in parts) <= 1000


# ---- faults


def test_a_missing_column_is_located(tmp_path: Path) -> None:
    write(tmp_path / "file.csv", ["t", "xx", "y", "y"], [[T0, 1, 2, 3]])
    config = configured(tmp_path, ONE)
    with pytest.raises(ConfigError, match=r"replay.yaml:7:33: twins\[0\].signals.x.column: .*'x' is unknown"):
        replay(config, tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"column: file.csv has several columns 'y'"):
        replay(configured(tmp_path, ONE.replace("column: x", "column: y")), tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"sources\[0\]"):
        replay(configured(tmp_path, ONE.replace("file.csv", "file.csv, time: z")), tmp_path, tmp_path / "out")


def test_nothing_stays_of_a_run_that_failed(tmp_path: Path) -> None:
    write(tmp_path / "file.csv", ["t", "x"], [[T0, 1], [T0 + 1, "much"]])
    with pytest.raises(SourceError, match=r"file.csv:3: column x: 'much' is not a number"):
        run(tmp_path, ONE)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path / "file.csv", ["t", "x"], [[T0, 1]])
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SourceError, match="cannot write into"):
        run(tmp_path, ONE)


def test_an_empty_recording(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text("t,x\n")
    out = run(tmp_path, ONE)
    assert table(out / "states.csv") == table(out / "scores.csv") == table(out / "alarms.csv") == []
    assert (out / "frames.etf").read_bytes() == b""
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["samples"], summary["first_t"]) == (0, None)


def test_recorded_data_are_never_in_the_future(tmp_path: Path) -> None:
    write(tmp_path / "file.csv", ["t", "x"], [[T0 + 10**8 * k, k] for k in range(5)])
    out = run(tmp_path, ONE + "limits: {future: 0s}\n")
    assert json.loads((out / "summary.json").read_text())["sources"]["file"]["fused"] == 5


def test_a_grid_without_end_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "file.csv", ["t", "x"], [[T0, 1], [T0 * 4, 1]])
    with pytest.raises(SourceError, match="longer --every"):
        run(tmp_path, ONE, every_s=1.0)


def test_values_beyond_all_bounds_are_invalid(tmp_path: Path) -> None:
    write(tmp_path / "file.csv", ["t", "x"], [[T0, "1e999"], [T0 + 1, "-inf"], [T0 + 2, 1e300], [T0 + 3, 1]])
    out = run(tmp_path, ONE.replace("column: x", "column: x, scale: 1000000000"))
    assert json.loads((out / "summary.json").read_text())["sources"]["file"]["invalid"] == 3
    assert [r["value"] for r in table(out / "scores.csv")] == ["", "", "", "1000000000.0"]


# ---- the contract


def test_the_contract_runs_as_it_is(tmp_path: Path) -> None:
    from edgetwin.cli.main import main

    path = contract("replay.yaml")
    if not (path.parent.parent / "data" / "nab").exists():
        pytest.skip("the recorded data are not on this machine")
    assert main(["replay", str(path), "--out", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "summary.json").read_text())["twins"]["machine"]["signals"]["temperature"]
    assert figures["samples"] == 22_695
    assert figures["rmse"] < 1.5  # repeating the last value: 1.36
    assert 0.9 < figures["coverage_95"] < 0.98
