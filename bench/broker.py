"""A scripted broker: accepts one client, then sends a prepared stream as fast as it is taken.

``python -m bench.broker COUNT TOPICS FORM QOS`` prints its port. It answers CONNECT and the first SUBSCRIBE for MQTT
3.1.1 and 5, sends COUNT messages over TOPICS topics (FORM ``plain`` or ``json``), keeps at most 60,000 QoS 1 messages
unacknowledged as a real broker would, and ends with an unsubscribed-for topic ``bench/end``.
"""

from __future__ import annotations

import socket
import sys
import threading

import numpy as np

BLOCK = 600_000
WINDOW = 60_000
END = b"bench/end"
PINGREQ, PINGRESP = b"\xc0\0", b"\xd0\0"


def topics(count: int) -> list[bytes]:
    """The topics of the bench, like those of a plant."""
    return [b"plant/line%d/machine%06d/temp" % (i % 7, i) for i in range(count)]


def payloads(form: str, count: int) -> list[bytes]:
    """Random temperatures; JSON ones carry their time, a quality and a name."""
    rng = np.random.default_rng(0)
    values = 20 + rng.normal(size=count)
    if form == "plain":
        return [b"%.3f" % v for v in values]
    return [b'{"t":%.3f,"v":%.4f,"q":"good"}' % (1.7e9 + 1e-3 * i, v) for i, v in enumerate(values)]


def publish(topic: bytes, payload: bytes, qos: int, mid: int, v5: bool) -> bytes:
    """One PUBLISH packet (MQTT 3.1.1 §3.3, MQTT 5 §3.3)."""
    body = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if qos else b"")
    body += (b"\0" if v5 else b"") + payload
    n, length = len(body), bytearray()
    while True:
        n, digit = divmod(n, 128)[0], n % 128
        length.append(digit | (128 if n else 0))
        if not n:
            return bytes([0x30 | qos << 1]) + bytes(length) + body


class Stream:
    """The prepared bytes: blocks of packets whose packet identifiers run 1..65535 round and round."""

    def __init__(self, count: int, topic_count: int, form: str, qos: int, v5: bool) -> None:
        names = topics(topic_count)
        rng = np.random.default_rng(1)
        order = rng.integers(0, topic_count, min(BLOCK, count)).tolist()
        texts = payloads(form, len(order))
        self.packets = [
            publish(names[t], text, qos, k % 65_535 + 1, v5)
            for k, (t, text) in enumerate(zip(order, texts, strict=True))
        ]
        self.count, self.qos, self.v5 = count, qos, v5


def serve(count: int, topic_count: int, form: str, qos: int) -> None:
    """Serve one client to the end."""
    prepared = {v5: Stream(count, topic_count, form, qos, v5) for v5 in (False, True)}
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    hello = client.recv(65_536)
    v5 = hello[8] == 5
    client.sendall(b"\x20\x03\x00\x00\x00" if v5 else b"\x20\x02\x00\x00")
    subscribe = client.recv(65_536)
    client.sendall(b"\x90\x04" + subscribe[2:4] + b"\0\1" if v5 else b"\x90\x03" + subscribe[2:4] + b"\1")
    if qos:
        _send_acknowledged(client, prepared[v5])
    else:
        _send_freely(client, prepared[v5])
    client.sendall(publish(END, b"1", 0, 0, v5))
    while data := client.recv(1 << 20):
        if data.startswith(PINGREQ):
            client.sendall(PINGRESP)


def _send_freely(client: socket.socket, stream: Stream) -> None:
    blob = b"".join(stream.packets)
    left = stream.count
    while left >= len(stream.packets):
        client.sendall(blob)
        left -= len(stream.packets)
    client.sendall(b"".join(stream.packets[:left]))


def _send_acknowledged(client: socket.socket, stream: Stream) -> None:
    """As long as fewer than WINDOW are unacknowledged."""
    acknowledged = 0
    progress = threading.Condition()

    def count_acks() -> None:
        nonlocal acknowledged
        pending = b""
        while acknowledged < stream.count:
            pending += client.recv(1 << 20)
            at, n = 0, 0
            while at + 2 <= len(pending) and at + 2 + pending[at + 1] <= len(pending):
                n += pending[at] == 0x40
                at += 2 + pending[at + 1]
            pending = pending[at:]
            with progress:
                acknowledged += n
                progress.notify()

    reader = threading.Thread(target=count_acks, daemon=True)
    reader.start()
    piece = 2_000
    groups = [stream.packets[k : k + piece] for k in range(0, len(stream.packets), piece)]
    blobs = [b"".join(g) for g in groups]
    sent = 0
    while sent < stream.count:
        for group, blob in zip(groups, blobs, strict=True):
            if sent >= stream.count:
                break
            with progress:
                progress.wait_for(lambda taken=sent: taken - acknowledged < WINDOW)
            client.sendall(blob)
            sent += len(group)
    with progress:
        progress.wait_for(lambda: acknowledged >= sent)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
