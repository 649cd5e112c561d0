"""The configuration file that `edgetwin demo` writes, with comments for whoever reads it."""

from __future__ import annotations

import json

from edgetwin.demo.broker import PROTOCOL
from edgetwin.demo.device import FORCE, FORCE_SCALE, OIL, STRIDE, STROKES, UNIT
from edgetwin.demo.plant import PRESSES

GATEWAY = "demo"
FRAMES_TOPIC = f"edgetwin/{GATEWAY}/frames"


def factory_config(*, mqtt_url: str, modbus_url: str, state_dir: str, http_port: int) -> str:
    """YAML that connects the daemon to the demo's broker and Modbus device."""
    return (
        _HEAD.format(
            gateway=GATEWAY,
            state_dir=json.dumps(state_dir),
            mqtt=mqtt_url,
            modbus=modbus_url,
            unit=UNIT,
            protocol=PROTOCOL,
        )
        + "".join(_press(i) for i in range(len(PRESSES)))
        + _TAIL.format(mqtt=mqtt_url, protocol=PROTOCOL, http_port=http_port)
    )


def _press(i: int) -> str:
    base = i * STRIDE
    return _PRESS.format(name=PRESSES[i], force=base + FORCE, scale=FORCE_SCALE, oil=base + OIL, strokes=base + STROKES)


_HEAD = """\
# Written by `edgetwin demo`. Try changes with `edgetwin check`; docs/configuration.md explains every key.
gateway: {gateway}
state_dir: {state_dir}

sources:
  - name: plant                  # the embedded broker; a real one usually speaks MQTT 5, the default
    kind: mqtt
    url: {mqtt}
    protocol: {protocol!r}
    qos: 1
  - name: press-plc              # one Modbus device holds the registers of all presses
    kind: modbus
    url: {modbus}
    unit: {unit}
    every: 200ms
    timeout: 1s

twins:
  # A template: one twin for each machine that is heard, named by what stands in the placeholder's level.
  - name: "{{oven}}"
    model: constant_velocity     # each signal has a value and a rate, e.g. temp and temp_rate
    signals:
      temp:
        {{source: plant, topic: "plant/ovens/{{oven}}", value: $.temp, time: $.ts, time_unit: ms,
         noise: 0.4, range: [-40, 500], unit: degC}}
      power:
        {{source: plant, topic: "plant/ovens/{{oven}}", value: $.power, time: $.ts, time_unit: ms, unit: kW}}
    report: {{every: 1s, tolerance: {{temp: 0.2}}}}

  # Plain numbers as payload, one topic a signal; noise that is not stated is learned.
  - name: "{{pump}}"
    model: auto
    signals:
      pressure:  {{source: plant, topic: "plant/pumps/{{pump}}/pressure", range: [0, 25], unit: bar}}
      flow:      {{source: plant, topic: "plant/pumps/{{pump}}/flow", range: [0, 200], unit: m3/h}}
      vibration: {{source: plant, topic: "plant/pumps/{{pump}}/vibration", range: [0, 100], unit: mm/s}}

  # Registers: address counts from 0 as on the wire, estimate = scale * raw + offset.
"""

_PRESS = """\
  - name: {name}
    model: random_walk
    signals:
      force:
        {{source: press-plc, register: {{table: input, address: {force}, type: int16, scale: {scale}}},
         unit: kN}}
      oil:
        {{source: press-plc, register: {{table: input, address: {oil}, type: float32, order: ABCD}},
         noise: 0.1, unit: degC}}
      strokes:
        {{source: press-plc, register: {{table: input, address: {strokes}, type: uint32, order: CDAB}}}}
"""

_TAIL = """\

# Estimates go out as compressed frames, here to the same broker; `edgetwin receive` decodes them.
uplink:
  kind: mqtt
  url: {mqtt}
  topic: edgetwin/{{gateway}}/frames
  protocol: {protocol!r}
  acknowledge: broker            # with `edgetwin receive` at the other end, leave this out
  every: 5s

http: {{listen: "127.0.0.1:{http_port}"}}
"""
