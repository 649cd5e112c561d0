"""Modbus devices over TCP, TLS, UDP, RTU over TCP and serial lines, polled on a schedule (docs/modbus.md)."""

from edgetwin.sources.modbus.links import Links
from edgetwin.sources.modbus.poller import ModbusSource

__all__ = ["Links", "ModbusSource"]
