"""Every error edgetwin raises on purpose.

::

    EdgetwinError
    ├── ConfigError      the YAML file, or something it names
    ├── ModelError       a model that cannot be built or compiled
    ├── PayloadError     bytes from the field that cannot be read as a sample
    ├── FitError         parameters that cannot be learned from the data given
    ├── SourceError      a connection that brings samples
    ├── FrameError       a frame that cannot be decoded or applied
    ├── JournalError     the state directory
    │   ├── JournalLockedError      another process owns it
    │   ├── JournalUnwritableError  it cannot be written at all
    │   ├── JournalFullError        no room, on the disk or within the bound
    │   └── JournalWriteError       a write or a sync failed; what it was about is not durable
    ├── ControlError     a write to a device that failed or is not allowed
    ├── StoreError       the receiver's store, for now
    └── UplinkError      the connection to the cloud

Foreign exceptions are translated once, at the adapter, with ``raise ... from exc``.
"""

from __future__ import annotations


class EdgetwinError(Exception):
    """Base of all; ``hint`` says what an operator can do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class ConfigError(EdgetwinError):
    """A fault in the configuration, with the place where it stands.

    ``file``, ``line`` and ``column`` (1-based; 0 when unknown) locate it, ``path`` is the dotted key
    (``twins[0].signals.temp.noise``). ``str()`` is ``file:line:column: path: what: hint``.
    """

    def __init__(
        self, message: str, *, hint: str = "", path: str = "", file: str = "", line: int = 0, column: int = 0
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.file = file
        self.line = line
        self.column = column

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.file else ""
        return f"{place}{self.path + ': ' if self.path else ''}{super().__str__()}"


class ModelError(EdgetwinError):
    """A model that cannot be built or compiled."""


class FitError(EdgetwinError):
    """Parameters that cannot be learned from the data given."""


class PayloadError(EdgetwinError):
    """Bytes from the field that cannot be read as a sample."""


class SourceError(EdgetwinError):
    """A connection that brings samples could not be made or was lost."""


class FrameError(EdgetwinError):
    """A frame that cannot be decoded or applied."""


class JournalError(EdgetwinError):
    """The state directory cannot be read, written or locked."""


class JournalLockedError(JournalError):
    """Another process owns the journal's directory."""


class JournalUnwritableError(JournalError):
    """The journal's directory cannot be made or written; the daemon may go on, but must not claim durability."""


class JournalFullError(JournalError):
    """There is no room for the group, on the disk or within the bound; nothing of it was written."""


class JournalWriteError(JournalError):
    """A write or a sync failed; the group is not durable. It may be committed again."""


class ControlError(EdgetwinError):
    """A write to a device failed. ``sent`` tells one that may have taken effect from one that never left."""

    def __init__(self, message: str, *, hint: str = "", sent: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent


class StoreError(EdgetwinError):
    """The receiver's store cannot be reached at this moment, or another receiver is at work in it."""


class UplinkError(EdgetwinError):
    """The connection to the cloud could not be made or was lost."""
