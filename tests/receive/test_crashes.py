"""Killed at random instants while frames flow, the receiver and the database keep each frame once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.receive.build import Place
from tests.receive.crashes import torture
from tests.receive.postgres import cluster

SEED = 20


def test_receiver_and_postgresql_are_killed(tmp_path: Path) -> None:
    print("seed", SEED)
    with cluster(fsync=True) as server:
        place = Place("postgresql", tmp_path / "out", server.url)
        count = torture(place, tmp_path, random.Random(SEED), 2, server)
        assert place.query("SELECT watermark, missing, frames FROM gateways") == [(count - 1, 0, count)]


@pytest.mark.parametrize("kind", ["duckdb", "parquet"])
def test_a_receiver_with_files_is_killed(kind: str, tmp_path: Path) -> None:
    print("seed", SEED)
    torture(Place(kind, tmp_path / "out"), tmp_path, random.Random(SEED), 1)
