"""Configurations that the tests start from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgetwin.config.load import InvalidConfigError, loads
from edgetwin.config.schema import Config

REPOSITORY = Path(__file__).parents[2]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))

MQTT = """\
gateway: g
sources:
  - {name: plant, kind: mqtt, url: "mqtt://127.0.0.1:1883"}
  - {name: plc, kind: modbus, url: "modbus+tcp://127.0.0.1"}
twins:
  - name: oven
    signals:
      temp: {source: plant, topic: plant/oven/temp}
"""


def contract(name: str) -> Path:
    """A file of the contract, found beside the data directory; the test is skipped where there is none."""
    data = Path(os.environ.get("EDGETWIN_DATA", REPOSITORY.parent / "shared" / "data"))
    path = data.parent / "contract" / name
    if not path.exists():
        pytest.skip("the contract's files are not on this machine")
    return path


def read(text: str, **env: str) -> Config:
    """A configuration under an environment of its own."""
    return loads(text, "c.yaml", env)


def faults(text: str, **env: str) -> list[str]:
    """The lines of the errors that a text is refused with."""
    with pytest.raises(InvalidConfigError) as caught:
        read(text, **env)
    return str(caught.value).splitlines()
