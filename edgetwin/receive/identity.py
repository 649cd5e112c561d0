"""Who posts frames: by a client certificate whose common name is the gateway's, or by a bearer token of its file."""

from __future__ import annotations

import hmac
import ssl
from pathlib import Path

from aiohttp import hdrs, web

from edgetwin.config.environment import read_secret
from edgetwin.errors import ConfigError
from edgetwin.http.problems import Problem
from edgetwin.receive.config import HttpFrames, ServerTls

_SCHEME = "bearer "


class Doorkeeper:
    """Checks that a request comes from the gateway that its path names. Token files are read at each request, so a new
    token counts at once; a file may hold two while one replaces the other."""

    def __init__(self, config: HttpFrames, base: Path) -> None:
        self._anonymous = config.anonymous
        self._tokens = None if config.tokens is None else base / config.tokens

    def check(self, request: web.Request, gateway: str) -> None:
        """Problem 401 when the request brings no credentials, 403 when they are another's or no one's."""
        if self._anonymous:
            return
        name = common_name(request)
        if name == gateway:
            return
        header = request.headers.get(hdrs.AUTHORIZATION, "")
        if self._tokens is None or not header:
            self._refuse(name)
        if not header.lower().startswith(_SCHEME) or not self._has(gateway, header[len(_SCHEME) :].strip()):
            raise Problem(403, f"the token is not one of gateway {gateway!r}", kind="credentials-refused")

    def _refuse(self, name: str | None) -> None:
        if name is not None:
            raise Problem(403, f"the certificate is that of {name!r}", kind="credentials-refused")
        headers = {str(hdrs.WWW_AUTHENTICATE): 'Bearer realm="edgetwin"'} if self._tokens is not None else None
        raise Problem(401, "the request brings no credentials", kind="credentials-missing", headers=headers)

    def _has(self, gateway: str, token: str) -> bool:
        if self._tokens is None or not token or gateway.startswith(".") or any(c in gateway for c in "/\\\0"):
            return False
        try:
            known = read_secret(self._tokens / gateway).splitlines()
        except (OSError, ValueError, ConfigError):
            return False
        found = [hmac.compare_digest(line.strip().encode(), token.encode()) for line in known if line.strip()]
        return any(found)


def common_name(request: web.Request) -> str | None:
    """The common name of the certificate that the client has proved to own; None when it has shown none."""
    found = request.get_extra_info("peercert") or {}
    names = [value for rdn in found.get("subject", ()) for key, value in rdn if key == "commonName"]
    return names[-1] if names else None


def server_context(tls: ServerTls, base: Path, *, certificate_needed: bool) -> ssl.SSLContext:
    """A context for a listener, TLS 1.2 or newer; with ``client_ca`` it asks clients for a certificate.

    ConfigError when a file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(base / tls.cert, base / tls.key)
        if tls.client_ca is not None:
            context.load_verify_locations(base / tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if certificate_needed else ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as exc:
        hint = "check the paths of cert, key and client_ca and that cert and key belong together"
        raise ConfigError(f"tls: {exc}", path="http.tls", hint=hint) from exc
    return context
