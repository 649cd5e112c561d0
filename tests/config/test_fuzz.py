"""Whatever the text, loading and checking give a configuration or a ConfigError."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgetwin.config.check import check
from edgetwin.config.load import loads
from edgetwin.config.plan import plan
from edgetwin.errors import ConfigError
from tests.config.support import CONFIGS, MQTT

TEXTS = [MQTT, *(p.read_text() for p in CONFIGS if p.name in ("factory.yaml", "hospital.yaml"))]
PIECES = [
    "{", "}", "[", "]", ":", ": ", "- ", "\n", "  ", "\t", "#", "&a ", "*a", "!!int ", "'", '"', "|", ">", "${", "${A}",
    "${A:-1}", "null", "true", "1e999", "-1", "0", "5s", "mqtt", "auto", "first_order", "\0", "\ufeff", "é", "\ud800", "%", "---\n", "<<: ",
]  # fmt: skip

ENV = {"A": "x"}


def attempt(text: str) -> None:
    try:
        config = loads(text, "c.yaml", ENV)
        findings = check(config, Path("/nonexistent"))
        if not findings:
            plan(config)
    except ConfigError as exc:
        assert "c.yaml:" in str(exc)
        return
    assert all(f.line > 0 and f.message for f in findings)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutated_configurations(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(st.sampled_from(PIECES)) + text[end:]
    attempt(text)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_values_of_the_wrong_kind(data: st.DataObject) -> None:
    """A value is replaced where it stands, so that the text stays valid YAML more often."""
    lines = data.draw(st.sampled_from(TEXTS)).split("\n")
    chosen = data.draw(st.integers(0, len(lines) - 1))
    value = data.draw(
        st.sampled_from(["{}", "[]", "[1, 2]", "{a: 1}", "null", "1", "-1.5", "x", "'${A}'", "1e400", "5s", "true", ""])
    )
    head, colon, _ = lines[chosen].partition(": ")
    lines[chosen] = head + colon + value
    attempt("\n".join(lines))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    attempt(text)
