"""What the broker has subscribed us to, kept in step with what is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paho.mqtt.reasoncodes import ReasonCode

from edgetwin.errors import SourceError
from edgetwin.sources.mqtt.session import Session

FILTERS_MAX = 100
"""Filters in one packet: brokers bound the length of packets."""

_REFUSED = 0x80


class Subscriptions:
    """Outlives connections, as the broker's session does.

    ``refused`` maps each filter that the broker does not grant to its reason. It is asked again on the next connection.
    """

    def __init__(self, qos: int) -> None:
        self.refused: dict[str, str] = {}
        self._qos = qos
        self._asked: set[str] = set()
        self._held: set[str] = set()

    def renew(self, resumed: bool) -> None:
        """A new connection: all filters are asked for again. ``resumed``: the broker still holds the old ones."""
        self.refused.clear()
        self._asked.clear()
        if not resumed:
            self._held.clear()

    async def follow(self, session: Session, wanted: Sequence[str]) -> None:
        """Subscribe to what is new, then unsubscribe from what is not wanted any more.

        Raises SourceError when the broker grants nothing of what is wanted.
        """
        for group in _groups([f for f in wanted if f not in self._asked]):
            self._held.update(group)  # before the answer: the broker may grant what we do not hear of
            codes: Sequence[int | ReasonCode] = await session.subscribe([(f, self._qos) for f in group])
            self._asked.update(group)
            for filter_, code in zip(group, codes, strict=False):
                if (code if isinstance(code, int) else code.value) >= _REFUSED:
                    self.refused[filter_] = str(code)
        for group in _groups(sorted(self._held.difference(wanted))):
            await session.unsubscribe(group)
            self._held.difference_update(group)
            self._asked.difference_update(group)
        self.refused = {f: reason for f, reason in self.refused.items() if f in wanted}
        if wanted and len(self.refused) == len(wanted):
            raise SourceError(self.complaint, hint="check the broker's access rules for this user")

    @property
    def complaint(self) -> str:
        """What is refused, in words; empty if nothing is."""
        if not self.refused:
            return ""
        shown = list(self.refused)[:3]
        more = f" and {len(self.refused) - len(shown)} more" if len(self.refused) > len(shown) else ""
        return f"the broker refuses a subscription to {', '.join(shown)}{more} ({self.refused[shown[0]]})"


def _groups(filters: Sequence[str]) -> Iterator[list[str]]:
    for k in range(0, len(filters), FILTERS_MAX):
        yield list(filters[k : k + FILTERS_MAX])
