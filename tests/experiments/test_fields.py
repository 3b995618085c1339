"""Configs from Python: what cannot be is refused by name, before anything runs."""

import importlib
import inspect
import typing
from pathlib import Path

import numpy as np
import pytest

from sparsejax.experiments import fields

CONFIGS = ()
RUNS = ()
NAN = float("nan")
WRONG = {
    int: [None, "3", 1.5, 3.0, True, NAN, (1,), [1], np.arange(2), np.int64(3)],
    float: [None, "3", True, NAN, (1.0,), [1.0], np.ones(2), 1j],
    str: [None, 3, ("a",), b"a", Path("a")],
    bool: [None, 1, "true", "", (True,)],
}


def module(name):
    return importlib.import_module(f"sparsejax.experiments.{name}")


def wrong_values(hint):
    """Values that are not of a field's type."""
    kinds = typing.get_args(hint) or (hint,)
    if typing.get_origin(hint) is tuple:
        right = {int: 1, float: 0.5, str: "a"}[kinds[0]]
        yield from (None, right, [right], {right}, iter([right]))
        yield from ((right, wrong) for wrong in WRONG[kinds[0]])
        return
    yield from (w for w in WRONG[kinds[0]] if not (w is None and type(None) in kinds))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_wrong_type_is_refused_by_name(name):
    of = module(name)
    for field, hint in typing.get_type_hints(of.Config).items():
        for value in wrong_values(hint):
            config = of.Config()
            object.__setattr__(config, field, value)  # as where no types are checked
            with pytest.raises(ValueError, match=rf"\b{field}\b") as caught:
                of.check(config)
            assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", CONFIGS)
def test_defaults_can_be(name):
    of = module(name)
    fields.check(of.Config(), of.WITHIN, of.CHOICES)


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
    assert all(fields.inside(value, interval) for value in inside)
    assert not any(fields.inside(value, interval) for value in outside)


@pytest.mark.parametrize("name", RUNS)
def test_folders_may_be_text(name):
    for function in (module(name).run, module(name).summary):
        assert inspect.signature(function).parameters["folder"].annotation == str | Path
