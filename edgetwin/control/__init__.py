"""Acting on assets: rules and commands, the gate that every write passes, verification, and the audit.

::

    rule, HTTP, MQTT ─Command─▶ gate ─accepted─▶ audit: intent ─▶ Writer.write ─▶ read back ─▶ audit: result
                                  └─refused─▶ audit                └─failed─▶ fallback, once; alarm

This is not a safety function: see docs/acting.md.
"""
