"""The receiver's file: what it takes, and where the first fault of each kind is said to stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetwin.errors import ConfigError
from edgetwin.receive.check import load
from edgetwin.receive.config import PostgresStore
from edgetwin.receive.share import Share, share_of
from edgetwin.receive.stores.open import folder_of

DIGESTS = ("47f05648defdc8bd", "1cc13a149c5a836b", "cc9e58ef6466544f", "e3b0c44298fc1c14")
"""First 8 bytes of `printf NAME | sha256sum`."""
CONFIGS = Path(__file__).parents[2] / "configs"
STORE = "store: {kind: csv, path: out}\n"
MQTT = "source: {kind: mqtt, url: mqtt://h}\n"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("receiver*.yaml")), ids=lambda p: p.name)
def test_examples_are_taken(path: Path) -> None:
    assert load(path).store


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        (STORE, "1:1: ", "nothing brings frames"),
        (MQTT + STORE + "share: {index: 2, of: 2}\n", "3:16: share.index", "no such part"),
        (MQTT + STORE + "metrics: {listen: nowhere}\n", "3:19: metrics.listen", "must be host:port"),
        (MQTT + "store: {kind: sqlite, path: out}\n", "2:", "sqlite"),
        (MQTT + "store: {kind: postgresql, url: x, schema: 'a;b'}\n", "2:", "schema"),
        (MQTT + "store: {kind: postgresql, url: x, password_file: none}\n", "2:", "cannot read none: No such file"),
        ("http: {listen: '127.0.0.1:1'}\n" + STORE, "1:7: http", "anybody could send frames"),
        ("http: {listen: '127.0.0.1:1', tokens: none}\n" + STORE, "1:39: http.tokens", "no such folder"),
        ("http: {listen: '127.0.0.1:1', tokens: ., anonymous: true}\n" + STORE, "1:7: http", "exclude each other"),
        (
            "http: {listen: '127.0.0.1:1', tls: {cert: c, key: k}}\n" + STORE,
            "1:43: http.tls.cert",
            "there is no file 'c'",
        ),
        ("http: {listen: '127.0.0.1', anonymous: true}\n" + STORE, "1:16: http.listen", "must be host:port"),
        (MQTT + "store: {kind: csv, path: out, commit_every: 0s}\n", "2:", "out of range"),
    ],
)
def test_a_fault_is_located(tmp_path: Path, text: str, place: str, what: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert f"{path}:{place}" in str(caught.value)
    assert what in str(caught.value)


def test_every_fault_is_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    tls = "source: {kind: mqtt, url: mqtt://h, topic: '#', tls: {cert: c.pem}}\n"
    path.write_text("share: {index: 1, of: 1}\n" + tls + STORE)
    with pytest.raises(ConfigError) as caught:
        load(path)
    whats = ("no such part", "too many wildcards", "no TLS", "cert and key belong together", "there is no file 'c.pem'")
    lines = str(caught.value).splitlines()
    assert len(lines) == len(whats) and all(what in line for what, line in zip(whats, lines, strict=True))


def test_the_password_in_a_url_is_not_shown() -> None:
    assert "hunter2" not in repr(PostgresStore(url="postgresql://u:hunter2@h/d"))


def test_shares_are_stable_and_cover_every_gateway_once() -> None:
    """The documented rule: these numbers must not change, or gateways would move between stores."""
    assert [share_of(name, 4) for name in ("plant-7", "plant-8", "Werk Süd", "")] == [
        int.from_bytes(bytes.fromhex(digest), "big") % 4 for digest in DIGESTS
    ]
    names = [f"gateway-{n}" for n in range(400)]
    shares = [Share(i, 4) for i in range(4)]
    assert all([share.has(name) for share in shares].count(True) == 1 for name in names)
    assert all(60 < sum(share.has(name) for name in names) < 140 for share in shares)


def test_each_share_of_files_has_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(MQTT + STORE)
    store = load(path).store
    assert folder_of(store, tmp_path, Share()) == tmp_path / "out"
    assert folder_of(store, tmp_path, Share(1, 4)) == tmp_path / "out" / "share-1-of-4"
