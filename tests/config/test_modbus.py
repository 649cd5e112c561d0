"""Modbus addresses, and the checks of sources that share a connection or a line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.config.check import check
from edgetwin.config.modbus_urls import TRANSPORTS, ModbusPlace, modbus_place
from edgetwin.config.plan import plan
from edgetwin.errors import ConfigError
from tests.config.support import read

HERE = Path(__file__).parent

START = """\
gateway: g
sources:
  - {name: a, kind: modbus, url: "modbus+tcp://h"}
twins:
  - name: m
    signals:
      s: {source: a, register: {address: 0}}
"""


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("modbus+tcp://h", ModbusPlace("tcp", "h", 502)),
        ("modbus+tls://h", ModbusPlace("tls", "h", 802)),
        ("modbus+udp://[::1]:1502", ModbusPlace("udp", "::1", 1502)),
        ("modbus+rtuovertcp://h:4001", ModbusPlace("rtuovertcp", "h", 4001)),
        ("modbus+rtu:///dev/ttyS0", ModbusPlace("rtu", "", 0, "/dev/ttyS0", 19200, "E", 1)),
        ("modbus+rtu:///dev/ttyS0?parity=N", ModbusPlace("rtu", "", 0, "/dev/ttyS0", 19200, "N", 2)),
        (
            "modbus+rtu:///dev/tty%20a?baudrate=9600&parity=o&stopbits=2",
            ModbusPlace("rtu", "", 0, "/dev/tty a", 9600, "O", 2),
        ),
    ],
)
def test_addresses(url: str, place: ModbusPlace) -> None:
    assert modbus_place(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://h", "modbus://h", "modbus+tcp://", "modbus+tcp://u:secret@h", "modbus+rtu://ttyS0", "modbus+rtu:///",
        "modbus+rtu:/dev/ttyS0", "modbus+rtu:///dev/ttyS0?baud=9600", "modbus+rtu:///dev/ttyS0?parity=X",
        "modbus+rtu:///dev/ttyS0?stopbits=3", "modbus+rtu:///dev/ttyS0?baudrate=fast", "modbus+rtu:///dev/ttyS0?baudrate=10",
        "modbus+rtu:///dev/ttyS0?baudrate=9600&baudrate=1200", "modbus+rtu:///dev/ttyS0?baudrate", "modbus+rtu:///dev/a%00b",
        "modbus+tcp://h:0", "modbus+tcp://h/path",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        modbus_place(url)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=40), st.sampled_from([*TRANSPORTS, ""]))
def test_any_text_is_an_address_or_a_configuration_error(text: str, scheme: str) -> None:
    try:
        place = modbus_place(f"{scheme}://{text}")
    except ConfigError:
        return
    assert place.address
    assert place.char_s >= 0


def test_the_time_of_a_character() -> None:
    assert modbus_place("modbus+rtu:///d?baudrate=9600").char_s == pytest.approx(11 / 9600)
    assert modbus_place("modbus+rtu:///d?baudrate=9600&parity=N&stopbits=1").char_s == pytest.approx(10 / 9600)
    assert modbus_place("modbus+rtuovertcp://h").char_s == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('h"}', 'h", pipeline: 4}', ""),
        ("tcp://h", "rtu:///dev/ttyS0?baudrate=9600", ""),
        ("tcp://h", "rtu:///dev/ttyS0?baud=9600", "c.yaml:3:34: sources[0].url: the URL has an unknown option 'baud'"),
        ('tcp://h"', 'rtu:///dev/ttyS0", pipeline: 4', "sources[0].pipeline: an RTU line carries one request at a time"),
        ('tcp://h"', 'rtuovertcp://h", unit: 0', "sources[0].unit: unit 0 is broadcast on an RTU line"),
        ('h"}', 'h", tls: {}}', "sources[0].tls: this connection has no TLS: write modbus+tls://"),
        ('tcp://h"', 'tls://h", tls: {ca: none.pem}', "sources[0].tls.ca: there is no file 'none.pem'"),
        ('tcp://h"', 'tls://h", tls: {cert: test_modbus.py}', "sources[0].tls: cert and key belong together"),
        ("address: 0", "address: 0, every: 0s", "twins[0].signals.s.register.every: must be longer than 0"),
        ("address: 0", "address: 0, every: 5s, unit: 7", ""),
        ('h"}', 'h", words_max: 3, align: 4}', "register.address: takes 4 registers with align: 4, and words_max is 3"),
        ('twins:', '  - {name: b, kind: modbus, url: "modbus+tcp://h", unit: 2}\ntwins:', ""),
        ('twins:', '  - {name: b, kind: modbus, url: "modbus+tcp://h", pipeline: 2}\ntwins:',
         "c.yaml:4:52: sources[1].pipeline: sources[0] shares the connection and has another pipeline"),
    ],
)  # fmt: skip
def test_sources(old: str, new: str, message: str) -> None:
    assert old in START
    found = [str(f.error()) for f in check(read(START.replace(old, new, 1)), HERE)]
    assert (not found) if not message else (len(found) == 1 and message in found[0]), found


def test_one_serial_line_has_one_setting() -> None:
    text = START.replace("tcp://h", "rtu:///dev/ttyS0?baudrate=9600")
    text = text.replace("twins:", '  - {name: b, kind: modbus, url: "modbus+rtu:///dev/ttyS0"}\ntwins:')
    (line,) = [str(f.error()) for f in check(read(text), HERE)]
    assert line.startswith("c.yaml:4:34: sources[1].url: sources[0] opens the same serial line with other settings")


def test_the_plan_names_the_line() -> None:
    text = START.replace("tcp://h", "rtu:///dev/ttyS0")
    assert plan(read(text)).sources[0].endpoint == "/dev/ttyS0"
    assert plan(read(START.replace("tcp", "tls"))).sources[0].tls
