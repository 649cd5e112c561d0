"""Which topic brings which signal, and which twins a topic calls into being."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from edgetwin.clock import Clock
from edgetwin.config.paths import parse_path
from edgetwin.config.schema import Signal, Twin
from edgetwin.engine import Engine, TwinInstance
from edgetwin.engine.twins import is_template, placeholders, substitute
from edgetwin.kernels.topics import Binding, TopicTable
from edgetwin.ratelimit import RateLimiter
from edgetwin.records import Outcome

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Template:
    """A signal of a template twin, and the pattern of its topic."""

    twin: Twin
    signal: str
    pattern: re.Pattern[str]


class TopicBindings:
    """The topic table of one source, kept in step with the engine's twins.

    A template's topic makes its twin when it is first heard. Topics of a template that share all their placeholders
    with the twin's name or with the topic that made it are bound at once; others when they are heard.
    """

    def __init__(self, source: str, engine: Engine, clock: Clock) -> None:
        self.table = TopicTable(ignored_max=engine.config.limits.topics)
        self._source = source
        self._engine = engine
        self._limiter = RateLimiter(every_s=10.0, keys_max=64, clock=clock)
        self._topic_of_slot: dict[int, str] = {}
        self._slots = 0
        self._templates: list[_Template] = []
        for twin, name, signal in self._signals():
            topic = signal.topic or ""
            if is_template(twin) and set(placeholders(twin.name)) <= set(placeholders(topic)):
                self._templates.append(_Template(twin, name, _regex(topic)))
                self.table.add_pattern([None if placeholders(level) else level for level in topic.split("/")])
        engine.on_twin(self.bind)

    def _signals(self) -> Iterator[tuple[Twin, str, Signal]]:
        for twin in self._engine.config.twins:
            for name, signal in twin.signals.items():
                if signal.source == self._source and signal.topic:
                    yield twin, name, signal

    def filters(self) -> list[str]:
        """The topic filters to subscribe to; none that another one covers, as a broker may then send twice."""
        topics = {signal.topic or "" for _, _, signal in self._signals()}
        filters = {"/".join("+" if placeholders(level) else level for level in t.split("/")) for t in topics}
        wide = [f.split("/") for f in sorted(filters) if "+" in f.split("/")]
        return sorted(f for f in filters if not any(_covers(w, f.split("/")) for w in wide))

    def bind(self, twin: TwinInstance) -> None:
        """Enter the topics of a twin whose placeholders are all known."""
        for name, slot in twin.slots.items():
            signal = twin.spec.signals[name]
            if signal.source != self._source or not signal.topic:
                continue
            self._slots += 1
            topic = substitute(signal.topic, twin.captures)
            if not placeholders(topic):
                self._enter(topic, slot, signal)
        self._note_full()

    def hear(self, name: bytes) -> Outcome | None:
        """A topic that is not in the table: make its twin and bind it (None), or say what becomes of its message.

        UNMATCHED topics are remembered as ignored. Those for which there is no room are not: their number has no bound.
        """
        topic = name.decode("utf-8", "surrogateescape")
        bound = crowded = False
        for template in self._templates:
            match = template.pattern.fullmatch(topic)
            if match is None:
                continue
            twin = self._engine.hear(template.twin, match.groupdict())
            if twin is None:
                crowded = crowded or self._engine.full
                continue
            slot = twin.slots[template.signal]
            if slot not in self._topic_of_slot:
                self._enter(topic, slot, twin.spec.signals[template.signal])
                self._note_full()
            if self._topic_of_slot[slot] == topic:
                bound = True
            else:
                self._warn_conflict(twin, template.signal, topic)
        if bound:
            return None
        if crowded:
            return Outcome.OVERFLOW
        self.table.ignore(name)
        return Outcome.UNMATCHED

    def _note_full(self) -> None:
        """The kernel may count unknown topics as overflow once no twin can be made and none waits for a topic."""
        self.table.set_patterns_full(self._engine.full and len(self._topic_of_slot) >= self._slots)

    def _warn_conflict(self, twin: TwinInstance, signal: str, topic: str) -> None:
        suppressed = self._limiter.allow((twin.name, signal))
        if suppressed is not None:
            log.warning(
                "topic_conflict", source=self._source, twin=twin.name, signal=signal, topic=topic,
                bound_to=self._topic_of_slot[twin.slots[signal]], similar_suppressed=suppressed,
                hint="put every distinguishing placeholder in the twin's name",
            )  # fmt: skip

    def _enter(self, topic: str, slot: int, signal: Signal) -> None:
        binding = Binding(
            slot,
            parse_path(signal.value) if signal.value else None,
            parse_path(signal.time) if signal.time else None,
            signal.time_unit,
            signal.numeric_strings,
        )
        self.table.add(topic.encode("utf-8", "surrogateescape"), [binding])
        self._topic_of_slot[slot] = topic


def _covers(wide: list[str], other: list[str]) -> bool:
    """Whether a filter of these levels matches all that another one does, and is not the same."""
    return (
        wide != other
        and len(wide) == len(other)
        and all(w in ("+", o) for w, o in zip(wide, other, strict=True))
        and not (wide[0] == "+" and other[0].startswith("$"))
    )


def _regex(topic: str) -> re.Pattern[str]:
    """The topic with each placeholder standing for one whole, non-empty level; a repeated one must repeat its value."""
    parts, seen = [], set()
    for level in topic.split("/"):
        names = placeholders(level)
        if not names:
            parts.append(re.escape(level))
        elif names[0] in seen:
            parts.append(f"(?P={names[0]})")
        else:
            seen.add(names[0])
            parts.append(f"(?P<{names[0]}>[^/]+)")
    return re.compile("/".join(parts), re.DOTALL)
