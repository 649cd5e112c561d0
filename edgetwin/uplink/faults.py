"""What can be wrong between the gateway and the cloud: a bounded set of reasons, and foreign errors made of them."""

from __future__ import annotations

import ssl
from enum import StrEnum

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from edgetwin.errors import ConfigError, UplinkError


class Reason(StrEnum):
    """The label of ``edgetwin_uplink_errors_total``."""

    UNREACHABLE = "unreachable"
    LOST = "lost"
    CERTIFICATE = "certificate"
    TLS = "tls"
    CREDENTIALS = "credentials"
    PROXY = "proxy"
    CONFIGURATION = "configuration"
    BUSY = "busy"
    SERVER = "server"
    NOT_THE_CLOUD = "not_the_cloud"
    REFUSED = "refused"
    UNHEARD = "unheard"
    UNANSWERED = "unanswered"


class UplinkFaultError(UplinkError):
    """An UplinkError with its reason; ``retry_after_s`` when the far end said how long to wait."""

    def __init__(self, reason: Reason, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.retry_after_s = retry_after_s


FAULTS = (aiomqtt.MqttError, UplinkError, ConfigError, OSError)
"""What a connection that cannot be made or kept raises; ssl.SSLError and TimeoutError are OSErrors."""

_NOT_AUTHORISED = {4, 5, 0x86, 0x87, 0x8C}
"""CONNACK: bad user name or password, not authorised, bad authentication method (MQTT 3.1.1 §3.2.2.3, 5 §3.2.2.2)."""
_BUSY = {3, 0x88, 0x89, 0x97, 0x9F}
"""Server unavailable, busy, quota exceeded, connection rate exceeded."""


def fault_of(exc: BaseException, *, connected: bool) -> UplinkFaultError:
    """The fault behind one of FAULTS; ``connected`` says whether the connection had been made."""
    if isinstance(exc, UplinkFaultError):
        return exc
    if isinstance(exc, ConfigError):
        return UplinkFaultError(Reason.CONFIGURATION, exc.message, hint=exc.hint)
    if isinstance(exc, aiomqtt.MqttCodeError):
        return _of_code(exc, connected)
    cause = _root(exc)
    if isinstance(cause, UplinkFaultError):
        return cause
    if isinstance(cause, ssl.SSLCertVerificationError):
        certificate = getattr(cause, "certificate_error", cause)  # aiohttp's class holds the real one
        why = getattr(certificate, "verify_message", "") or str(certificate)
        return UplinkFaultError(
            Reason.CERTIFICATE, f"the cloud's certificate is not accepted: {why}", hint=_CERTIFICATE
        )
    if isinstance(cause, ssl.SSLError):
        return UplinkFaultError(Reason.TLS, f"TLS failed: {getattr(cause, 'reason', None) or cause}", hint=_TLS)
    message = exc.message if isinstance(exc, UplinkError) else str(exc) or type(exc).__name__
    return UplinkFaultError(Reason.LOST if connected else Reason.UNREACHABLE, message)


_CERTIFICATE = "check tls.ca, the host in url and the gateway's clock; nothing was sent"
_TLS = "the cloud may want a client certificate (tls.cert, tls.key), or it does not speak TLS at this port"


def _of_code(exc: aiomqtt.MqttCodeError, connected: bool) -> UplinkFaultError:
    code = exc.rc.value if isinstance(exc.rc, ReasonCode) else exc.rc
    if code in _NOT_AUTHORISED and not connected:
        return UplinkFaultError(Reason.CREDENTIALS, f"the broker refuses us: {exc}", hint="check username and password")
    if code in _BUSY and not connected:
        return UplinkFaultError(Reason.BUSY, f"the broker is busy: {exc}")
    return UplinkFaultError(Reason.LOST if connected else Reason.UNREACHABLE, str(exc))


def _root(exc: BaseException) -> BaseException:
    """The TLS error or the fault in the chain of causes, hidden ones included: libraries wrap what they catch."""
    seen: BaseException | None = exc
    for _ in range(8):
        if seen is None:
            break
        if isinstance(seen, ssl.SSLError | UplinkFaultError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return exc
