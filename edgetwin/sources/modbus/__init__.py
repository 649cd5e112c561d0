"""Modbus TCP devices, polled on a schedule (docs/modbus.md)."""

from edgetwin.sources.modbus.poller import ModbusSource

__all__ = ["ModbusSource"]
