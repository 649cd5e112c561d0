"""YAML to a typed configuration, with every fault located.

>>> config = loads("gateway: demo\\n...", "plant.yaml")  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from edgetwin.config.convert import Converter, record_type
from edgetwin.config.document import BYTES_MAX, parse, too_large
from edgetwin.config.fitted import FittedFile, merge
from edgetwin.config.origin import Locator, Origin, attach, origin_of
from edgetwin.config.places import quoted
from edgetwin.config.schema import Config
from edgetwin.errors import ConfigError

R = TypeVar("R", bound=msgspec.Struct)


class InvalidConfigError(ConfigError):
    """Every fault of one file, in the order of its lines.

    Stands where the first of ``errors`` stands; ``str()`` has one line for each.
    """

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        first = errors[0]
        super().__init__(
            first.message,
            hint=first.hint,
            path=first.path,
            file=first.file,
            line=first.line,
            column=first.column,
        )
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def load(path: str | os.PathLike[str], env: Mapping[str, str] = os.environ) -> Config:
    """The configuration in a file; ``env`` is what ``${NAME}`` and credentials are read from.

    Values of the files that its key ``fitted`` names, relative to the file, are merged over its twins.
    InvalidConfigError (a ConfigError) when a file cannot be read or is not valid.
    """
    config = load_as(path, Config, env)
    for i, name in enumerate(config.fitted):
        file = Path(path).parent / name
        if not file.is_file():
            raise InvalidConfigError([_no_fitted(config, i, file)])
        overlay = load_as(file, FittedFile, env)
        try:
            config = merge(config, overlay)
        except ConfigError as exc:
            raise InvalidConfigError([exc]) from exc
    return config


def load_as(path: str | os.PathLike[str], record: type[R], env: Mapping[str, str] = os.environ) -> R:
    """The same for a file of another shape; ``record`` is a Struct made with ``dict=True``, to carry its origin."""
    name = os.fspath(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a path"
        error = ConfigError(f"cannot read {name}: {reason}", hint="check the path and its permissions")
        raise InvalidConfigError([error]) from exc
    if len(raw) > BYTES_MAX:
        raise InvalidConfigError([too_large(name)])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidConfigError([_not_utf8(raw, exc.start, name)]) from exc
    return _read(text, name, record, env)


def loads(text: str, name: str = "<text>", env: Mapping[str, str] = os.environ) -> Config:
    """The configuration in a text; ``name`` stands for the file in messages. Errors as for :func:`load`."""
    return _read(text, name, Config, env)


def _read(text: str, name: str, record: type[R], env: Mapping[str, str]) -> R:
    try:
        root, errors = parse(text, name, env)
    except ConfigError as exc:
        raise InvalidConfigError([exc]) from exc.__cause__
    converter = Converter(name)
    data = converter.read(root, record_type(record), ())
    known = {error.path for error in errors}
    errors += [error for error in converter.errors if error.path not in known]
    if errors:
        raise InvalidConfigError(sorted(errors, key=lambda e: (e.line, e.column)))
    try:
        config = msgspec.convert(data, record, strict=True)
    except msgspec.ValidationError as exc:
        raise InvalidConfigError([ConfigError(str(exc), file=name, line=1, column=1)]) from exc
    attach(config, Origin(name, text))
    return config


def _no_fitted(config: Config, i: int, file: Path) -> ConfigError:
    locator = Locator(origin_of(config))
    line, column = locator.place(("fitted", i))
    hint = "edgetwin fit writes it; remove the line until then"
    message = f"there is no file {quoted(str(file))}"
    return ConfigError(message, hint=hint, path=f"fitted[{i}]", file=locator.file, line=line, column=column)


def _not_utf8(raw: bytes, position: int, name: str) -> ConfigError:
    line = raw.count(b"\n", 0, position) + 1
    before = raw[raw.rfind(b"\n", 0, position) + 1 : position].decode("utf-8", "replace")
    return ConfigError("not UTF-8 text", hint="save the file as UTF-8", file=name, line=line, column=len(before) + 1)
