"""Paths name every leaf once, and arrays under paths make the tree again."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sparsejax import train, trees


def a_state():
    """A state of training: NamedTuples in tuples, integers, keys."""
    params = {"dense_0": {"bias": jnp.arange(2.0), "kernel": jnp.ones((3, 2))}}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
    return train.init(params, optimizer, jax.random.key(7))


def test_paths_of_dicts_tuples_and_named_tuples():
    assert trees.by_path({"b": (1, [2]), "a": {"x": 3}, "none": None}) == {
        "a/x": 3,
        "b/0": 1,
        "b/1/0": 2,
    }
    names = list(trees.by_path(a_state()))
    assert names[:3] == ["step", "params/dense_0/bias", "params/dense_0/kernel"]
    assert names[-1] == "key"
    assert sum(name.endswith("mu/dense_0/kernel") for name in names) == 1
    assert trees.by_path(5) == {"": 5}


def test_map_with_path_is_map_with_names():
    tree, other = {"a": (1, 2), "b": 3}, {"a": (10, 20), "b": 30}
    got = trees.map_with_path(lambda name, x, y: f"{name}:{x + y}", tree, other)
    assert got == {"a": ("a/0:11", "a/1:22"), "b": "b:33"}


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_a_state_survives_a_file(impl):
    keys = jax.random.split(jax.random.key(3, impl=impl), 2)
    state = (a_state(), {"keys": keys, "flag": jnp.array([True, False])})
    file = io.BytesIO()
    np.savez(file, **trees.to_arrays(state))
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        back = trees.from_arrays(arrays, state)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True):
        assert isinstance(new, jax.Array)
        assert new.dtype == old.dtype and (new == old).all()

    def draw(key):
        return jax.random.uniform(key, 3)

    np.testing.assert_array_equal(draw(back[1]["keys"][1]), draw(keys[1]))


def test_only_names_and_shapes_of_the_template_matter():
    state = a_state()
    blank = jax.tree.map(jnp.zeros_like, state._replace(key=None))
    like = blank._replace(key=jax.random.key(0))
    back = trees.from_arrays(trees.to_arrays(state), like)
    np.testing.assert_array_equal(back.params["dense_0"]["bias"], [0, 1])
    assert back.key == state.key


def test_arrays_that_do_not_fit():
    like = {"a": jnp.ones((2, 3)), "k": jax.random.key(0)}
    good = trees.to_arrays(like)
    trees.from_arrays(good | {"more": np.ones(1)}, like)
    with pytest.raises(ValueError, match="no array 'k'; there are 'a'$"):
        trees.from_arrays({"a": good["a"]}, like)
    with pytest.raises(ValueError, match=r"'a' is float32\(3, 2\), .* float32\(2, 3\)"):
        trees.from_arrays(good | {"a": good["a"].T}, like)
    with pytest.raises(ValueError, match=r"'a' is float64.*expected float32\(2, 3\)"):
        trees.from_arrays(good | {"a": good["a"].astype(np.float64)}, like)
    with pytest.raises(ValueError, match=r"'k' is uint32\(3,\), expected uint32\(2,\)"):
        trees.from_arrays(good | {"k": np.zeros(3, np.uint32)}, like)


def test_listed():
    assert trees.listed([]) == "none"
    assert trees.listed(iter("ab")) == "'a', 'b'"
    assert trees.listed(map(str, range(12))).endswith("'11'")
    assert trees.listed(map(str, range(14))).endswith("'11' and 2 more")


@pytest.mark.parametrize(
    "tree, like, message",
    [
        ({"a": 1, "b": 2}, {"a": 1}, "missing: none; unknown: 'b'$"),
        ({"a": 1}, {"a": 1, "b/c": 2}, "missing: 'b%2Fc'; unknown: none$"),
        ({"a": None}, {"a": 1}, "missing: 'a'; unknown: none$"),
        ([1, 2], (1, 2), "unknown: none; paths are the same, containers are not$"),
        (1, {"a": 1}, "missing: 'a'; unknown: ''$"),
    ],
)
def test_where_structures_differ(tree, like, message):
    trees.check_structure(like, like, "tree", "like")
    with pytest.raises(ValueError, match="^tree must have the structure of like; .*"):
        trees.check_structure(tree, like, "tree", "like")
    with pytest.raises(ValueError, match=message):
        trees.check_structure(tree, like, "tree", "like")


@pytest.mark.parametrize("leaf", [len, object()], ids=["function", "object"])
def test_what_is_no_array_is_not_written(leaf):
    with pytest.raises(ValueError, match="leaves that are not arrays: 'a/b'"):
        trees.to_arrays({"a": {"b": leaf}, "c": 1})
