"""Which gateways a receiver looks after when there are several."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Share:
    """The gateways whose SHA-256 of the name in UTF-8, its first 8 bytes read as a big-endian integer, leaves ``index``
    when divided by ``of``."""

    index: int = 0
    of: int = 1

    def has(self, gateway: str) -> bool:
        """Whether a gateway belongs to this share."""
        return self.of == 1 or share_of(gateway, self.of) == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"


WHOLE = Share()


def share_of(gateway: str, of: int) -> int:
    """The index of the share that has a gateway."""
    return int.from_bytes(sha256(gateway.encode()).digest()[:8], "big") % of
