"""Configs: what cannot be is refused by name, before anything runs; help that helps."""

import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest

import sparsejax as sj
from sparsejax.experiments._study import config as config_

FOLDER = Path(sj.experiments.__file__).parent
NAMES = [n for n in sj.experiments.EXPERIMENTS if (FOLDER / n / "config.py").exists()]
NAN = float("nan")
WRONG = {
    int: [None, "3", 1.5, 3.0, True, NAN, (1,), [1], np.arange(2), np.int64(3)],
    float: [None, "3", True, NAN, (1.0,), [1.0], np.ones(2), 1j],
    str: [None, 3, ("a",), b"a", Path("a")],
    bool: [None, 1, "true", "", (True,)],
}


def module(name):
    return importlib.import_module(f"sparsejax.experiments.{name}.config")


def wrong_values(hint):
    """Values that are not of a field's type."""
    kinds = typing.get_args(hint) or (hint,)
    if typing.get_origin(hint) is tuple:
        right = {int: 1, float: 0.5, str: "a"}[kinds[0]]
        yield from (None, right, [right], {right}, iter([right]))
        yield from ((right, wrong) for wrong in WRONG[kinds[0]])
        return
    yield from (w for w in WRONG[kinds[0]] if not (w is None and type(None) in kinds))


@pytest.mark.parametrize("name", NAMES)
def test_every_wrong_type_is_refused_by_name(name):
    config = module(name).Config
    for field, hint in typing.get_type_hints(config).items():
        for value in wrong_values(hint):
            one = config()
            object.__setattr__(one, field, value)  # as where no types are checked
            with pytest.raises(ValueError, match=rf"\b{field}\b") as caught:
                one.__post_init__()
            assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", NAMES)
def test_help_begins_with_a_noun(name):
    """Entries are phrases of the field, not answers to a question nobody sees."""
    config = module(name).Config
    texts = config_.help_texts(config)
    assert list(texts) == [field.name for field in dataclasses.fields(config)]
    for field, text in texts.items():
        first, *others = text.split()
        assert first[0].isupper() or not first[0].isalpha(), (field, text)
        assert len(others) >= 2 and text.endswith("."), (field, text)
        wrong = ("Of", "As", "What", "Likewise", "In", "How", "Where", "By", "Which")
        assert first.strip(",:") not in wrong, (field, text)
        assert not re.search("[lL]ikewise", text), (field, text)


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_has_one_signature(name):
    face = getattr(sj.experiments, name)
    parameters = inspect.signature(face.run).parameters
    assert list(parameters) == [
        "config", "folder", "subject", "data_dir", "force", "log"
    ]  # fmt: skip
    assert parameters["folder"].annotation == str | Path
    assert list(inspect.signature(face.plan).parameters) == [
        "config", "subject", "data_dir"
    ]  # fmt: skip
    assert {"Config", "plan", "run", "summary"} <= set(dir(face))


def test_help_needs_no_jax():
    code = (
        "import sys, sparsejax._launch as launch\n"
        "for name in sys.argv[1:]: launch.main(name, ['sparsejax', '--help'])\n"
        "sys.exit('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *NAMES], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"SPARSEJAX_DATA_DIR") >= len(NAMES)


@pytest.mark.parametrize(
    "interval, inside, outside",
    [
        ("[0, 1)", (0, 0.5, 1 - 1e-9), (-1e-9, 1, NAN, float("inf"))),
        ("(0, inf)", (1e-300, 1e300), (0, -1, NAN, float("inf"))),
        ("(-inf, inf)", (-1e300, 0), (float("inf"), -float("inf"), NAN)),
        ("[1, 2^31)", (1, 2**31 - 1), (0, 2**31, 10**400)),
        ("[0, 1]", (0, 1), (1.1, -0.1)),
    ],
)
def test_intervals(interval, inside, outside):
    assert all(config_.inside(value, interval) for value in inside)
    assert not any(config_.inside(value, interval) for value in outside)
