"""What the engine knows of a twin, as the gate needs it."""

from __future__ import annotations

import numpy as np

from edgetwin.control.records import Outlook, State
from edgetwin.engine import Engine
from edgetwin.engine.bank import row_status
from edgetwin.records import Quality


def outlook(engine: Engine, twin: str, now_ns: int) -> Outlook:
    """States of a twin extrapolated to ``now_ns``; empty for a twin that does not exist."""
    found: dict[str, State] = {}
    try:
        rows = engine.rows_of(twin)
    except KeyError:
        return found
    for bank, index in rows:
        row = bank.rows[index : index + 1]
        mean, std = bank.predict(np.array([index]), now_ns)
        quality, at_ns = Quality(int(row_status(row, now_ns).quality[0])), int(row["t"][0])
        for k, (_, name, _) in enumerate(bank.columns[index]):
            found[name] = State(float(mean[0, k]), float(std[0, k]), at_ns, quality)
    return found
