"""TLS of a client, for sources and uplinks alike."""

from __future__ import annotations

import ssl
from pathlib import Path

from edgetwin.config.schema import Tls
from edgetwin.errors import ConfigError


def tls_context(tls: Tls | None, base: Path) -> ssl.SSLContext:
    """A context that verifies the peer and its name, TLS 1.2 or newer; files are relative to ``base``.

    Raises ConfigError when a file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=str(base / tls.ca) if tls and tls.ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls and tls.cert:
            context.load_cert_chain(base / tls.cert, base / tls.key if tls.key else None)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"tls: {exc}", hint="check the paths of ca, cert and key and that they belong together"
        ) from exc
    return context
