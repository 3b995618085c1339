"""What is refused, and in which words; what passes, passes as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import checks

KEY = jax.random.key(0)
WHOLE = np.array([0, 1, 2])
GOOD = {
    "a key": lambda: checks.key(KEY),
    "stacked keys": lambda: checks.key(jax.random.split(jax.random.key(1))),
    "one key": lambda: checks.one_key(KEY),
    "an array": lambda: checks.array(np.ones(2, "f4"), floating=True),
    "a number": lambda: checks.array(3.0, floating=True),
    "half precision": lambda: checks.array(jnp.ones(2, jnp.bfloat16), floating=True),
    "keys and holes in a tree": lambda: checks.arrays({"k": KEY, "n": None, "i": 3}),
    "labels": lambda: checks.labels(WHOLE, 3, (3,)),
    "no labels": lambda: checks.labels(WHOLE[:0], 3, (0,)),
    "traced labels": lambda: jax.jit(lambda y: checks.labels(y, 2) or y)(WHOLE),
}
BAD = {
    "an old key": (lambda: checks.key(jax.random.PRNGKey(0)), "not jax.random.PRNGKey"),
    "no key": (lambda: checks.key(0, "data_key"), "data_key must .*, got the int 0"),
    "two keys": (
        lambda: checks.one_key(jax.random.split(jax.random.key(1))),
        "must be one key, got key<fry> of shape .2,.",
    ),
    "a truth value": (lambda: checks.integer(True, "steps"), "steps is True; expected"),
    "a half": (lambda: checks.integer(2.5, "steps"), "steps is 2.5; expected an int"),
    "too few": (lambda: checks.integer(0, "steps", 1), "steps is 0; expected at least"),
    "a size of none": (lambda: checks.sizes((3, 0)), "size is .3, 0.; .* at least 1"),
    "a size of text": (lambda: checks.sizes("3"), "size is .'3',.; expected whole"),
    "a unit beyond": (lambda: checks.units([0, 3], 3), "no units .3.; there are 3"),
    "a unit below": (lambda: checks.units(-1, 3), "there are no units .-1."),
    "units of none": (lambda: checks.units([], 3), "units are ..; expected a list"),
    "a dict": (
        lambda: checks.array({"a": 1.0 * WHOLE}), "a dict of 'a'; close over all but"
    ),
    "nothing": (lambda: checks.array(None), "x must be one array, got None"),
    "words": (lambda: checks.array(np.array(["a"])), "array of numbers, got <U1 of"),
    "tokens": (lambda: checks.array(WHOLE, floating=True), "of real numbers, got int"),
    "functions": (
        lambda: checks.arrays({"w": WHOLE, "act": len}), "not arrays .'act'.*partition"
    ),
    "functions elsewhere": (
        lambda: checks.arrays([len], "mask"), "mask has leaves .* expected arrays or"
    ),
    "labels from one": (lambda: checks.labels(WHOLE + 1, 3), "run from 1 to 3; expect"),
    "labels of two signs": (lambda: checks.labels(WHOLE - 1, 3), "run from -1 to 1; e"),
    "real labels": (lambda: checks.labels(WHOLE * 1.0, 3), "float64 .*.astype.'int32'"),
    "labels in a column": (
        lambda: checks.labels(WHOLE[:, None], 3, (3,)), "the last axis: y.*0.$"
    ),
    "one-hot labels": (
        lambda: checks.labels(np.eye(3, dtype=int), 3, (3,)), "take y.argmax.-1."
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_what_fits_passes(case):
    GOOD[case]()


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_in_one_line(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_one_is_several():
    for one in ("ab", 3, None, np.float32(2), jnp.ones(())):
        assert checks.several(one) == (one,)
    for many in (["a", "b"], {"a": 0, "b": 1}, (n for n in "ab"), np.array(["a", "b"])):
        assert checks.several(many) == ("a", "b")
