"""Certificates for tests, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def make_authority(folder: Path, name: str) -> None:
    """``NAME.pem`` and ``NAME.key``: an authority of its own."""
    subject = ("-subj", f"/CN=edgetwin test {name}", "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    openssl("req", "-x509", *_KEY, *subject, folder=folder)


def make_certificate(folder: Path, name: str, names: str, *, by: str = "ca", days: int = 2) -> None:
    """``NAME.pem`` and ``NAME.key``, signed by an authority, for names such as ``IP:127.0.0.1``. With ``days=0`` it has
    expired a second later."""
    openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr", folder=folder)
    (folder / f"{name}.names").write_text(f"subjectAltName={names}\n")
    signer = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial", "-days", str(days))
    files = ("-in", f"{name}.csr", "-extfile", f"{name}.names", "-out", f"{name}.pem")
    openssl("x509", "-req", *signer, *files, folder=folder)
