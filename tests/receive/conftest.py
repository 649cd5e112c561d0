"""Shared fixtures of the receiver's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.receive.postgres import Cluster, cluster


@pytest.fixture(scope="package")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL that no test stops; each takes a schema of its own."""
    with cluster() as server:
        yield server
