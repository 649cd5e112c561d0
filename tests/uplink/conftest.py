"""Certificates for the uplink's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import make_authority, make_certificate


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Authorities ``ca`` and ``other``; ``server``, ``elsewhere``, ``expired`` and ``client`` by ``ca``, ``stranger`` by
    the other one."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ca", "other"):
        make_authority(folder, name)
    make_certificate(folder, "expired", "IP:127.0.0.1", days=0)
    make_certificate(folder, "server", "IP:127.0.0.1")
    make_certificate(folder, "elsewhere", "DNS:elsewhere.example")
    make_certificate(folder, "client", "DNS:g")
    make_certificate(folder, "stranger", "DNS:g", by="other")
    yield folder
