"""The library of models: found by name, checked like the user's own, used by an example each."""

from __future__ import annotations

import pytest

from edgetwin.config.check import check
from edgetwin.config.equations import equation_model
from edgetwin.config.library import LIBRARY, library_model, library_names
from edgetwin.config.load import load
from edgetwin.config.models import state_names, user_model
from edgetwin.config.plan import plan
from tests.config.support import CONFIGS, MQTT, REPOSITORY, read

TANK = MQTT.replace("  - name: oven", "  - name: oven\n    model: library/tank").replace("temp:", "level:")


def found(text: str) -> list[str]:
    return [str(f.error()) for f in check(read(text), REPOSITORY)]


@pytest.mark.parametrize("name", library_names())
def test_each_model_is_sound_and_names_its_source(name: str) -> None:
    model = library_model(name)
    assert model is not None
    made = equation_model(model)
    assert made.name == name
    assert all(q > 0 for q in made.process_noise), "a state without noise is believed for ever"
    text = (REPOSITORY / "edgetwin" / f"{name}.yaml").read_text()
    assert "\n# Source: " in text
    assert all(len(line) <= 120 for line in text.splitlines())
    assert f"| `{name}` |" in (REPOSITORY / "docs" / "models.md").read_text()


def test_a_twin_uses_one_without_an_entry_in_models() -> None:
    config = read(TANK)
    assert check(config, REPOSITORY) == []
    assert state_names(config, config.twins[0]) == ["level", "flow"]
    assert plan(config).twins[0].states == ["level", "flow"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("library/tank", "library/tnk", "c.yaml:7:12: twins[0].model: model 'library/tnk' is unknown: did you mean library/tank? known: library/battery,"),
        ("library/tank", "tank", "c.yaml:7:12: twins[0].model: model 'tank' is unknown: "),
        ("library/tank", "library/", "c.yaml:7:12: twins[0].model: model 'library/' is unknown: "),
        ("library/tank", "library/../library/tank", "c.yaml:7:12: twins[0].model: model 'library/../library/tank' is unknown: "),
        ("library/tank", "library/tank\n    parameters: {Area: 1}", "c.yaml:8:18: twins[0].parameters.Area: parameter of library/tank 'Area' is unknown: "),
        ("level:", "levl:", "c.yaml:9:7: twins[0].signals.levl: measurement or input of library/tank 'levl' is unknown: did you mean level?"),
        ("level:", "command:", "c.yaml:8:5: twins[0].signals: no signal is a measurement of library/tank"),
    ],
)  # fmt: skip
def test_faults_are_located(old: str, new: str, line: str) -> None:
    lines = found(TANK.replace(old, new, 1))
    assert any(f.startswith(line) for f in lines), lines


def test_a_name_from_the_library_cannot_be_taken() -> None:
    config = read(MQTT)
    assert user_model(config, "tank") is None
    assert user_model(config, "library/tank") is library_model("library/tank")


def test_every_model_has_a_runnable_example() -> None:
    used = {t.model for p in CONFIGS if p.name.startswith("library-") for t in load(p, {}).twins}
    assert used == set(library_names())
    assert all(name.startswith(LIBRARY) for name in used)
