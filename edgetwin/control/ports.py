"""What the control of outputs needs of the world."""

from __future__ import annotations

from typing import Protocol


class Writer(Protocol):
    """Writes one output of one twin."""

    @property
    def resolution(self) -> float:
        """Largest difference between a value and what the device can hold next to it."""

    async def write(self, value: float) -> None:
        """Set it. Returns once the device has acknowledged exactly this; raises ControlError otherwise."""

    async def read(self) -> float | None:
        """What it holds now; None when it cannot be read. ControlError when the device does not answer."""
