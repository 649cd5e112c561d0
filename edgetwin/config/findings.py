"""What the checks found, with places."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec

from edgetwin.config.hints import suggest
from edgetwin.config.origin import Locator, origin_of
from edgetwin.config.places import Path, dotted, quoted
from edgetwin.config.schema import Config
from edgetwin.errors import ConfigError

Severity = Literal["error", "not_yet", "warning"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault (``error``), what this release accepts but cannot run (``not_yet``), or what runs but should not surprise
    (``warning``)."""

    severity: Severity
    path: str
    message: str
    hint: str
    file: str
    line: int
    column: int

    def error(self) -> ConfigError:
        """The finding as an exception; its text is ``file:line:column: path: what: hint``."""
        return ConfigError(
            self.message, hint=self.hint, path=self.path, file=self.file, line=self.line, column=self.column
        )


class Collector:
    """Collects findings of one file, ``record``, however it was read."""

    def __init__(self, record: msgspec.Struct) -> None:
        self.found: list[Finding] = []
        self._locator = Locator(origin_of(record))

    def in_order(self) -> list[Finding]:
        """The findings in the order of the file."""
        return sorted(self.found, key=lambda f: (f.line, f.column))

    def error(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> None:
        """Note a fault at the value, or at the key, under ``path``."""
        self._add("error", path, message, hint, key)

    def not_yet(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> None:
        """Note what this release cannot run."""
        self._add("not_yet", path, message, hint, key)

    def warning(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> None:
        """Note what can be run and is probably not meant."""
        self._add("warning", path, message, hint, key)

    def unknown(self, path: Path, what: str, name: str, known: list[str], *, key: bool = False) -> None:
        """Note a name that stands for nothing, with the closest that does."""
        word = quoted(name) if key else self.shown(path, name)
        self.error(path, f"{what} {word} is unknown", suggest(name, known), key=key)

    def place(self, path: Path) -> tuple[int, int]:
        """Line and column of what stands at ``path``."""
        return self._locator.place(path)

    def shown(self, path: Path, value: object) -> str:
        """A value as a message may show it."""
        return self._locator.shown(path, value)

    def attempt(self, path: Path, act: Callable[[], T]) -> T | None:
        """The result of ``act``; None, with its ConfigError noted at ``path``, when it fails."""
        try:
            return act()
        except ConfigError as exc:
            # What a substitution put into the value may be secret: quote the template in its place.
            message, template = exc.message, self._locator.template(path)
            if template:
                message = re.sub(r"'.*'|\".*\"", lambda _: quoted(template), message, flags=re.DOTALL)
            self.error(path, message, exc.hint)
            return None

    def _add(self, severity: Severity, path: Path, message: str, hint: str, key: bool) -> None:
        line, column = self._locator.place(path, key=key)
        self.found.append(Finding(severity, dotted(path), message, hint, self._locator.file, line, column))


class Findings(Collector):
    """Those of a configuration of the daemon."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config = config
