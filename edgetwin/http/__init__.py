"""HTTP: the API, Prometheus metrics and the page. Read-only; everything is computed when asked for."""

from edgetwin.http.app import make_app
from edgetwin.http.server import serve
from edgetwin.http.view import DaemonView

__all__ = ["DaemonView", "make_app", "serve"]
