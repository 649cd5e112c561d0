"""Checks that many records share: durations, files, certificates."""

from __future__ import annotations

from pathlib import Path as FilePath

from edgetwin.config.findings import Collector
from edgetwin.config.places import Path
from edgetwin.config.schema import Tls

FILE_HINT = "the path is relative to the configuration file"


def positive(findings: Collector, path: Path, seconds: float) -> None:
    """Note a duration of zero where one is needed."""
    if not seconds > 0:
        findings.error(path, "must be longer than 0", "write a duration such as 1s")


def check_client_tls(
    findings: Collector, path: Path, files: Tls | None, scheme: str, encrypted: bool, base_dir: FilePath
) -> None:
    """Certificate files at ``path``, if any, fit a connection of ``scheme`` (mqtt, http), which is ``encrypted`` or
    not, exist and belong together."""
    if files is None:
        return
    if not encrypted:
        message, hint = f"an {scheme}:// connection has no TLS", f"write {scheme}s:// in url"
        findings.error(path, message, hint, key=True)
    check_tls(findings, path, files, base_dir)


def check_tls(findings: Collector, path: Path, files: Tls, base_dir: FilePath) -> None:
    """The certificate files under ``path`` exist and belong together."""
    if (files.cert is None) != (files.key is None):
        findings.error(path, "cert and key belong together", "give both or neither", key=True)
    for key, name in (("ca", files.ca), ("cert", files.cert), ("key", files.key)):
        if name is not None:
            check_file(findings, (*path, key), name, base_dir)


def check_file(findings: Collector, path: Path, name: str, base_dir: FilePath) -> None:
    """Note a file that is not there."""
    try:
        found = (base_dir / name).is_file()
    except (OSError, ValueError):
        found = False
    if not found:
        findings.error(path, f"there is no file {findings.shown(path, name)}", FILE_HINT)
