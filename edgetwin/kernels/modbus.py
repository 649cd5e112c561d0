"""The checksum of Modbus RTU frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgetwin.kernels.jit import kernel


@kernel
def crc16(data: NDArray[np.uint8]) -> int:
    """CRC-16/MODBUS of ``data`` uint8[n]: polynomial 0x8005 reflected (0xA001), start 0xFFFF, no final inversion.

    Sent low byte first. Over a frame with its checksum the result is 0. Source: MODBUS over Serial Line V1.02,
    sections 2.5.1.2 and 6.2.2.
    """
    crc = 0xFFFF
    for byte in data:
        crc ^= int(byte)
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc
