"""RTU: no answer to an earlier request of a unit is taken for that to the next. Without I/O.

An RTU answer says neither to which request nor to which address it belongs. But a device answers in the order in which
it was asked. So a unit that still owes an answer has to answer a *probe* before it is asked anything else: Return Query
Data (function 8), whose answer, be it the echo or an exception, looks like that of no read and no write. Once it has
come, nothing older can. A unit that ignores function 8 against the specification is probed by a reading whose answer is
as long as none that may be under way. Only where there is no such reading (a unit with one register) it is asked only
probes for eight time-outs.

Source: MODBUS Application Protocol V1.1b3, section 6.8 (diagnostics).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from edgetwin.clock import NS
from edgetwin.sources.modbus.frames import (
    UNREACHED,
    LinkError,
    NoAnswerError,
    RefusalError,
    Request,
    WrongAnswerError,
    probe_request,
)
from edgetwin.sources.modbus.units import Unit

LATE_TIMEOUTS = 8
"""So many time-outs after it was last asked, an answer of a unit is not expected any more."""

Ask = Callable[[Request], Awaitable[None]]
"""Returns when the request was answered; raises as requests of the link do."""


async def settle(unit: Unit, request: Request, now_ns: int, timeout_s: float, nonce: int, ask: Ask) -> None:
    """Return when ``request`` can be sent. LinkError, not ``sent``, when the unit does not answer what is asked first.

    ``nonce`` (0 to 65535) tells this probe from others.
    """
    if unit.doubtful and now_ns - unit.asked_ns > round(LATE_TIMEOUTS * timeout_s * NS):
        unit.doubtful.clear()
    try:
        while unit.doubtful:
            telling = unit.telling(request)
            if telling is not None and (unit.deaf or unit.probe_lost):
                await _tell(unit, telling, ask)
            else:
                await _probe(unit, probe_request(request.unit, nonce), ask)
    except WrongAnswerError as exc:
        raise LinkError(exc.message) from exc
    except LinkError as exc:
        exc.sent = False  # what was asked for was not
        raise


async def _probe(unit: Unit, probe: Request, ask: Ask) -> None:
    try:
        await ask(probe)
    except NoAnswerError:
        unit.probe_lost = True
        raise
    except RefusalError as exc:  # as good an answer as any, unless a gateway gives it
        if exc.code in UNREACHED:
            raise
    unit.probed()


async def _tell(unit: Unit, telling: Request, ask: Ask) -> None:
    """Probe a unit that may be deaf to function 8."""
    try:
        await ask(telling)
    except NoAnswerError:
        unit.probe_lost = unit.deaf and unit.probe_lost
        raise
    except RefusalError as exc:
        unit.refused(telling)
        unit.doubt(telling)  # the refusal may have been another's
        if exc.code in UNREACHED:
            raise
    else:
        unit.told(telling)
