"""ISO 8601 text to integer nanoseconds since 1970-01-01 UTC and back, without loss."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from edgetwin.clock import NS
from edgetwin.errors import PayloadError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:([Zz])|([+-])(\d\d):?(\d\d))",
    re.ASCII,
)
_HINT = "write 2026-01-31T12:00:00Z, with a zone and at most nine decimals"
NS_MIN, NS_MAX = -(2**63), 2**63 - 1


def format_time(ns: int) -> str:
    """``2026-01-31T12:00:00.123456789Z``: always UTC and nine decimals, so that texts sort as times do.

    ``ns`` is any int64: the years 1677 to 2262.
    """
    seconds, rest = divmod(ns, NS)
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def parse_time(text: str) -> int:
    """Nanoseconds of an ISO 8601 date and time with a zone; seconds and decimals may be absent.

    Raises PayloadError when it is none, has no zone, names a day or hour that does not exist or does not
    fit int64.
    """
    match = _ISO.fullmatch(text)
    if match is None:
        raise PayloadError(f"{text!r} is not a time", hint=_HINT)
    *parts, fraction, _, sign, zone_hours, zone_minutes = match.groups()
    try:
        zone = _zone(sign, int(zone_hours or 0), int(zone_minutes or 0))
        moment = datetime(*(int(part or 0) for part in parts), tzinfo=zone)  # type: ignore[misc,arg-type]
        since = moment - _EPOCH
    except (ValueError, OverflowError) as exc:
        raise PayloadError(f"{text!r} is not a time ({exc})", hint=_HINT) from exc
    ns = (since.days * 86_400 + since.seconds) * NS + int((fraction or "").ljust(9, "0"))
    if not NS_MIN <= ns <= NS_MAX:
        raise PayloadError(f"{text!r} is out of range", hint="years from 1678 to 2261 can be told")
    return ns


def _zone(sign: str | None, hours: int, minutes: int) -> timezone:
    if minutes > 59:
        raise ValueError("minutes of the zone must be in 0..59")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if sign == "-" else offset)
