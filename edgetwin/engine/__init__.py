"""Signal slots, twins, filter banks, ledger, reports and snapshot: the core, without I/O or clocks."""

from edgetwin.engine.engine import Engine
from edgetwin.engine.twins import TwinInstance

__all__ = ["Engine", "TwinInstance"]
