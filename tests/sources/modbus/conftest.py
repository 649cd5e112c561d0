"""Compilation is no part of any device's time-out."""

from __future__ import annotations

import numpy as np
import pytest

from edgetwin.config.schema import Register
from edgetwin.kernels.modbus import crc16
from edgetwin.sources.modbus.bindings import Binding, make_block


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    block = make_block("holding", 0, 1, [Binding(0, Register(address=0))])
    block.decode(np.zeros(1, np.uint16))
    crc16(np.zeros(1, np.uint8))
