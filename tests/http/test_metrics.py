"""/metrics against the parser of prometheus_client."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from edgetwin.clock import SystemClock
from edgetwin.http.metrics import render
from edgetwin.http.reading import take_reading
from edgetwin.journal.disk import RealDisk
from edgetwin.journal.group import Group
from edgetwin.journal.journal import Journal
from edgetwin.journal.layout import Kind
from edgetwin.journal.limits import Limits
from edgetwin.records import OUTCOMES
from tests.control.rig import Rig
from tests.http.build import NOW, Asking, View, view_of
from tests.http.conftest import NAMES

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]

DESIGNED = {
    "edgetwin_samples_total",
    "edgetwin_messages_total",
    "edgetwin_ingest_latency_seconds",
    "edgetwin_loop_lag_seconds",
    "edgetwin_twins",
    "edgetwin_twin_quality",
    "edgetwin_nis_ratio",
    "edgetwin_signals_health",
    "edgetwin_uplink_frames_total",
    "edgetwin_uplink_bytes_total",
    "edgetwin_uplink_backlog_bytes",
    "edgetwin_outbox_frames_total",
    "edgetwin_outbox_backlog_frames",
    "edgetwin_journal_bytes",
    "edgetwin_journal_commits_total",
    "edgetwin_journal_fsync_seconds",
    "edgetwin_journal_syncs_total",
    "edgetwin_journal_write_failures_total",
    "edgetwin_journal_written_bytes_total",
    "edgetwin_uplink_up",
    "edgetwin_uplink_errors_total",
    "edgetwin_uplink_acks_ignored_total",
    "edgetwin_uplink_backlog_age_seconds",
    "edgetwin_uplink_ack_seconds",
    "edgetwin_source_up",
    "edgetwin_modbus_request_seconds",
    "edgetwin_modbus_requests_total",
    "edgetwin_modbus_unit_up",
    "edgetwin_modbus_overruns_total",
    "edgetwin_modbus_registers_refused",
    "edgetwin_build_info",
    "edgetwin_clock_trusted",
    "edgetwin_commands_total",
    "edgetwin_fallbacks_total",
    "edgetwin_outputs",
    "edgetwin_source_clock_offset_seconds",
    "edgetwin_clock_stamps_total",
}


def series(text: str) -> Series:
    return {(s.name, frozenset(s.labels.items())): s.value for family in parse_text(text) for s in family.samples}


def value(found: Series, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def scrape(view: View, accept: str = "") -> str:
    return render(take_reading(view), accept)[0].decode()


def test_every_figure() -> None:
    view = view_of(NAMES)
    plc = Asking("plc", messages=4)
    plc.units[3].requests.observe(0.02, 4)
    view.sources.append(plc)
    view.loop_lag.observe(0.5)
    found = series(scrape(view))
    for outcome in OUTCOMES:
        expected = {"fused": 60, "invalid": 2}.get(outcome, 0)
        assert value(found, "edgetwin_samples_total", source="plant", outcome=outcome) == expected
    assert value(found, "edgetwin_messages_total", source="plant") == 60
    assert value(found, "edgetwin_source_up", source="plant") == 1
    assert value(found, "edgetwin_source_up", source="plc") == 0
    assert value(found, "edgetwin_ingest_latency_seconds_bucket", le="1e-05") == 0
    assert value(found, "edgetwin_ingest_latency_seconds_bucket", le="3e-05") == 60
    assert value(found, "edgetwin_ingest_latency_seconds_bucket", le="+Inf") == 60
    assert value(found, "edgetwin_ingest_latency_seconds_count") == 60
    assert value(found, "edgetwin_ingest_latency_seconds_sum") == pytest.approx(60 * 2e-5)
    assert value(found, "edgetwin_loop_lag_seconds_bucket", le="0.3") == 0
    assert value(found, "edgetwin_loop_lag_seconds_bucket", le="1.0") == 1
    assert value(found, "edgetwin_modbus_request_seconds_count", source="plc", unit="3") == 4
    assert value(found, "edgetwin_modbus_request_seconds_sum", source="plc", unit="3") == pytest.approx(0.08)
    assert value(found, "edgetwin_modbus_requests_total", source="plc", unit="3", outcome="answered") == 4
    assert value(found, "edgetwin_modbus_requests_total", source="plc", unit="4", outcome="timed_out") == 2
    assert value(found, "edgetwin_modbus_unit_up", source="plc", unit="3") == 0
    assert value(found, "edgetwin_modbus_unit_up", source="plc", unit="4") == 1
    assert value(found, "edgetwin_modbus_overruns_total", source="plc") == 7
    assert value(found, "edgetwin_modbus_registers_refused", source="plc") == 2
    assert value(found, "edgetwin_twins") == 3
    assert value(found, "edgetwin_twin_quality", quality="uncertain") == 3
    assert value(found, "edgetwin_twin_quality", quality="good") == 0
    assert value(found, "edgetwin_nis_ratio_count") == 3
    assert value(found, "edgetwin_nis_ratio_sum") == pytest.approx(view.engine.nis_histogram()[2])
    assert value(found, "edgetwin_signals_health", kind="ok") == 3
    assert value(found, "edgetwin_signals_health", kind="stuck") == 0
    assert value(found, "edgetwin_uplink_frames_total", outcome="acknowledged") == 5
    assert value(found, "edgetwin_uplink_bytes_total") == 12345
    assert value(found, "edgetwin_uplink_backlog_bytes") == 67
    assert value(found, "edgetwin_outbox_frames_total", outcome="enqueued") == 0
    assert value(found, "edgetwin_outbox_backlog_frames", state="waiting") == 0
    assert value(found, "edgetwin_uplink_backlog_age_seconds") == 8.5
    assert value(found, "edgetwin_uplink_up") == 1
    assert value(found, "edgetwin_uplink_errors_total", reason="certificate") == 2
    assert value(found, "edgetwin_uplink_acks_ignored_total", reason="future") == 1
    assert value(found, "edgetwin_uplink_ack_seconds_count") == 0
    assert any(n == "edgetwin_build_info" and ("version", "1.2.3") in labels for n, labels in found)
    assert value(found, "process_resident_memory_bytes") > 0


def journal(directory: Path) -> Journal:
    """One with a commit in it."""
    made, _ = Journal.open(RealDisk(directory), Limits(), SystemClock())
    group = Group()
    group.history(Kind.AUDIT, bytes(1000))
    made.commit(group)
    return made


def test_what_the_journal_costs_the_disk(tmp_path: Path) -> None:
    view = view_of(NAMES)
    view.journal = journal(tmp_path)
    found = series(scrape(view))
    assert value(found, "edgetwin_journal_commits_total") == 1
    assert value(found, "edgetwin_journal_syncs_total") >= 1
    assert 1000 < value(found, "edgetwin_journal_written_bytes_total") < value(found, "edgetwin_journal_bytes")
    assert value(found, "edgetwin_journal_write_failures_total") == 0
    view.journal.commit(Group())  # nothing
    group = Group()
    group.history(Kind.AUDIT, b"more")
    view.journal.commit(group)
    assert value(series(scrape(view)), "edgetwin_journal_fsync_seconds_count") == 1  # the first made its file


def test_the_names_are_those_of_the_design_and_of_the_docs(tmp_path: Path) -> None:
    view = view_of(NAMES, metric_twins=1)
    view.sources.append(Asking("plc"))
    view.acting = SimpleNamespace(controller=Rig().controller)
    view.journal = journal(tmp_path)
    text = scrape(view)
    exposed = set(re.findall(r"^# TYPE (edgetwin_\S+)", text, re.MULTILINE))
    assert exposed == DESIGNED | {"edgetwin_twin_state", "edgetwin_twin_state_std"}
    docs = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert exposed == set(re.findall(r"^\| `(edgetwin_[a-z_]+)", docs, re.MULTILINE))


def test_twins_have_series_of_their_own_up_to_the_limit() -> None:
    assert not [key for key in series(scrape(view_of(NAMES))) if key[0] == "edgetwin_twin_state"]
    names = ['we"ird\\\n', *NAMES]
    view = view_of(names, metric_twins=3)
    found = series(scrape(view))
    means = {dict(labels)["twin"]: v for (n, labels), v in found.items() if n == "edgetwin_twin_state"}
    assert set(means) == set(names[:3])
    for name, mean in means.items():
        state = view.engine.estimate(name, NOW, NOW).states["x"]
        assert mean == pytest.approx(state.mean, rel=1e-12)
        std = value(found, "edgetwin_twin_state_std", twin=name, state="x")
        assert std == pytest.approx(state.std, rel=1e-12)
    assert not any(n == "edgetwin_twin_state" for n, _ in series(scrape(view_of(NAMES, 0, metric_twins=9))))


def test_an_empty_gateway_can_be_scraped() -> None:
    view = view_of(NAMES, samples=0)
    view.sources, view.uplink = [], None
    found = series(scrape(view))
    assert value(found, "edgetwin_nis_ratio_count") == 0
    assert not any(math.isnan(v) for v in found.values())


async def test_content_negotiation(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert list(parse_text(await answer.text()))
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    async with client.get("/metrics", headers=accept) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        text = await answer.text()
    assert text.endswith("# EOF\n")
    assert "edgetwin_samples" in {family.name for family in parse_openmetrics(text)}


async def test_a_long_scrape_is_written_beside_the_loop_and_compressed(
    client: aiohttp.ClientSession, view: View
) -> None:
    view.engine = view_of([f"t{i}" for i in range(2000)], samples=2, metric_twins=2000).engine
    async with client.get("/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        found = series(await answer.text())
    assert sum(1 for name, _ in found if name == "edgetwin_twin_state") == 2000
