"""One device behind one connection: pymodbus, with every answer checked.

pymodbus makes requests and carries bytes. Its own reconnecting and retrying are off, because a request that
follows a time-out on the same connection can be given the answer to the one before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException

from edgetwin.errors import PayloadError, SourceError
from edgetwin.sources.modbus.frames import check_answer, exception_text
from edgetwin.sources.modbus.plan import is_bit_table

if TYPE_CHECKING:
    from pymodbus.pdu import ModbusPDU

    from edgetwin.sources.modbus.plan import Block


class Device:
    """A Modbus TCP unit. Not safe for two requests at once.

    ``timeout_s`` bounds the making of the connection and each request.
    """

    def __init__(self, host: str, port: int, unit: int, timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._unit = unit
        self._timeout_s = timeout_s
        self._client: AsyncModbusTcpClient | None = None
        self._request = b""
        self._fault: SourceError | PayloadError | None = None
        self._deadline: asyncio.Timeout | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._client is not None and self._client.connected

    async def connect(self) -> None:
        """Make the connection anew; SourceError when the device cannot be reached."""
        self.close()
        quiet_pymodbus()
        self._client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._see_bytes,
            trace_connect=self._see_connection,
        )
        if not await self._client.connect():
            self.close()
            raise SourceError(
                f"cannot connect to {self._host}:{self._port}",
                hint="check the url, the device and the network between",
            )

    def close(self) -> None:
        """Drop the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def read(self, block: Block) -> NDArray[np.uint16]:
        """The block's registers, uint16[count]; for coils and discrete inputs 0 or 1.

        PayloadError when the device refuses or answers something else (this block only); SourceError when
        the connection is lost, times out or is out of step, and has to be closed.
        """
        answer = await self._execute(block)
        if answer.isError():
            raise PayloadError(f"device answers {exception_text(answer.exception_code)}")
        values = answer.bits[: block.count] if is_bit_table(block.table) else answer.registers
        if len(values) != block.count:
            raise PayloadError(f"{len(values)} values, {block.count} asked")
        return np.array(values, np.uint16)

    async def _execute(self, block: Block) -> ModbusPDU:
        if self._client is None:
            raise SourceError("not connected")
        self._fault = None
        try:
            async with asyncio.timeout(self._timeout_s) as self._deadline:
                answer = await _ask(self._client, block, self._unit)
        except (TimeoutError, ModbusException) as exc:
            raise self._fault or _translated(exc, self._timeout_s) from exc
        finally:
            self._deadline = None
        if self._fault is not None:
            raise self._fault
        return answer

    # ---- called by pymodbus

    def _see_bytes(self, sending: bool, data: bytes) -> bytes:
        """Lets through requests and sound answers only; ``data`` is all that came since the request."""
        if sending:
            self._request = data
            return data
        try:
            return data if check_answer(self._request, data) else b""
        except (SourceError, PayloadError) as fault:
            self._fail(fault)
            return b""

    def _see_connection(self, connected: bool) -> None:
        if not connected:
            self._fail(SourceError("connection closed by the device"))

    def _fail(self, fault: SourceError | PayloadError) -> None:
        """Ends the request that waits, instead of letting it run into its time-out."""
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            self._fault = fault
            deadline.reschedule(asyncio.get_running_loop().time())


def quiet_pymodbus() -> None:
    """Silence pymodbus unless someone gave it a level: its faults are raised, counted and logged by us."""
    logger = logging.getLogger("pymodbus.logging")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)


def _ask(client: AsyncModbusTcpClient, block: Block, unit: int) -> Awaitable[ModbusPDU]:
    reader = {
        "coil": client.read_coils,
        "discrete": client.read_discrete_inputs,
        "holding": client.read_holding_registers,
        "input": client.read_input_registers,
    }[block.table]
    return reader(block.address, count=block.count, device_id=unit)


def _translated(exc: TimeoutError | ModbusException, timeout_s: float) -> SourceError:
    if isinstance(exc, ConnectionException):
        return SourceError("the connection is lost")
    return SourceError(f"no answer within {timeout_s:g} s", hint="check the unit id, or raise timeout")
