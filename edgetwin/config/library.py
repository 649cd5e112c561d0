"""The models that come with edgetwin: ``model: library/<name>`` on a twin, without an entry in ``models``.

Each is a file of :data:`edgetwin/library`, in the form of an entry of ``models``, with its source in comments.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

from edgetwin.config.convert import Converter, record_type
from edgetwin.config.document import parse
from edgetwin.config.schema import UserModel
from edgetwin.errors import ConfigError

LIBRARY = "library/"
_FOLDER = files("edgetwin") / "library"


@cache
def library_names() -> list[str]:
    """Names of the models, as ``model:`` takes them, sorted."""
    found = [f.name.removesuffix(".yaml") for f in _FOLDER.iterdir() if f.name.endswith(".yaml")]
    return [LIBRARY + name for name in sorted(found)]


@cache
def library_model(name: str) -> UserModel | None:
    """The model ``library/…``; None when there is none of that name. ConfigError when its file is damaged."""
    if name not in library_names():
        return None
    file = f"{name}.yaml"
    text = (_FOLDER / file.removeprefix(LIBRARY)).read_text(encoding="utf-8")
    root, errors = parse(text, file, None)
    converter = Converter(file)
    data = converter.read(root, record_type(UserModel), ())
    for error in (*errors, *converter.errors):
        raise ConfigError(error.message, hint="install edgetwin again", path=error.path, file=file, line=error.line)
    model = msgspec.convert(data, UserModel, strict=True)
    return msgspec.structs.replace(model, name=name)
