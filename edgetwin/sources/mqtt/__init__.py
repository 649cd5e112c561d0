"""MQTT: a session kept by aiomqtt, a data path of our own under it."""

from edgetwin.sources.mqtt.source import MqttSource

__all__ = ["MqttSource"]
