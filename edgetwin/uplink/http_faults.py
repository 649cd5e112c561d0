"""Faults of HTTP: status codes, problem documents and what aiohttp raises."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import aiohttp
import msgspec

from edgetwin.uplink.faults import Reason, UplinkFaultError, fault_of

_DETAIL_CHARS_MAX = 200


def fault_of_status(status: int, detail: str, retry_after: str | None, now_s: float) -> UplinkFaultError:
    """The fault of an answer that takes nothing. ``now_s``: seconds since 1970, for a Retry-After that is a date."""
    message = f"the cloud answers with status {status}" + (f": {detail}" if detail else "")
    if status in (401, 403):
        return UplinkFaultError(Reason.CREDENTIALS, message, hint="check token_file, or the client certificate in tls")
    if status == 407:
        return fault_of_proxy(status)
    if status in (429, 503):
        return UplinkFaultError(Reason.BUSY, message, retry_after_s=seconds_of(retry_after, now_s))
    if status >= 500:
        return UplinkFaultError(Reason.SERVER, message)
    if status in (404, 405, 415, 421):
        return UplinkFaultError(Reason.REFUSED, message, hint="check url: no receiver for this gateway is there")
    return UplinkFaultError(Reason.NOT_THE_CLOUD, message, hint="a captive portal or a proxy may answer in its place")


def seconds_of(retry_after: str | None, now_s: float) -> float | None:
    """Retry-After (RFC 9110, §10.2.3) in seconds; None when it is absent or cannot be read."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(at_s - now_s, 0.0)


def detail_of(body: bytes) -> str:
    """``detail`` of a problem document (RFC 9457); empty when the body is something else, such as a page."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    detail = found.get("detail") if isinstance(found, dict) else None
    return detail[:_DETAIL_CHARS_MAX] if isinstance(detail, str) else ""


def fault_of_client(exc: aiohttp.ClientError, *, connected: bool, tls: bool) -> UplinkFaultError:
    """The fault behind an error of aiohttp's client.

    With TLS 1.3 a server refuses the client's certificate after the handshake has ended for the client (RFC 8446,
    §4.4.2.4), and aiohttp then tells no more than that the server hung up.
    """
    if isinstance(exc, aiohttp.ServerDisconnectedError) and tls and not connected:
        message = "the cloud hangs up after the TLS handshake"
        return UplinkFaultError(Reason.TLS, message, hint="it may want a client certificate: tls.cert and tls.key")
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        return fault_of_proxy(exc.status)
    if isinstance(exc, aiohttp.ClientProxyConnectionError):
        return UplinkFaultError(Reason.PROXY, f"the proxy cannot be reached: {exc}", hint="check uplink.proxy")
    return fault_of(exc, connected=connected)


def fault_of_proxy(status: int) -> UplinkFaultError:
    """A proxy that does not let us through."""
    hint = "check user and password in uplink.proxy" if status == 407 else "check uplink.proxy"
    return UplinkFaultError(Reason.PROXY, f"the proxy refuses the way to the cloud (status {status})", hint=hint)
