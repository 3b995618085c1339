"""No two leaves share a path: names with slashes, wherever paths are keys."""

import collections
import dataclasses
import hashlib
import io
from typing import NamedTuple

import equinox as eqx
import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import flowgraph, prune, relevance, runs, trees, weights


def colliding():
    """Joined by "/" alone, both kernels would lie at 'mlp/linear/w'."""
    return {
        "mlp/linear": {"w": jnp.arange(1.0, 10.0).reshape(3, 3)},
        "mlp": {"linear": {"w": jnp.arange(10.0, 16.0).reshape(3, 2)}},
    }


def fn(params, x):
    return jax.nn.relu(x @ params["mlp/linear"]["w"]) @ params["mlp"]["linear"]["w"]


OUTER, INNER = "mlp%2Flinear/w", "mlp/linear/w"
X = jnp.array([[1.0, 0.5, 0.2], [0.3, 0.1, 0.9], [0.7, 0.2, 0.4]])


class Pair(NamedTuple):
    first: int
    second: int


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Record:
    kernel: int


@jax.tree_util.register_pytree_node_class
class Unnamed(list):
    """A node that does not say what its children are called."""

    def tree_flatten(self):
        return tuple(self), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(children)


class Layer(eqx.Module):
    weight: int


def state():
    """The state of an NNX module whose dict of parameters has slashes."""
    module = nnx.Linear(1, 1, rngs=nnx.Rngs(0), use_bias=False)
    return {"a/b": nnx.state(module)}


@pytest.mark.parametrize(
    "tree, paths",
    [
        (colliding(), [INNER, OUTER]),
        ({"a": {"b": 1}, "a/b": 2, "a%2Fb": 3}, ["a/b", "a%252Fb", "a%2Fb"]),
        ({"a/": {"b": 1}, "a": {"/b": 2}}, ["a/%2Fb", "a%2F/b"]),
        ({"100%": {"/": 1}}, ["100%25/%2F"]),
        ({"mlp/~/linear_0": {"w": 1}}, ["mlp%2F~%2Flinear_0/w"]),
        ({"x": Pair(1, 2)}, ["x/first", "x/second"]),
        ({"x/y": Record(1)}, ["x%2Fy/kernel"]),
        ({"x/y": [Unnamed([1, 2])]}, ["x%2Fy/0/0", "x%2Fy/0/1"]),
        (Layer(1), ["weight"]),
        (state(), ["a%2Fb/kernel/value"]),
        ({("a/b", 1): 1, ("a", "b"): 2}, ["('a', 'b')", "('a%2Fb', 1)"]),
        ({"": {"": 1}, "a": {"": 2}}, ["/", "a/"]),
        (5, [""]),
    ],
)
def test_every_leaf_has_its_own_path(tree, paths):
    found = trees.by_path(tree)
    assert list(found) == paths and [*found.values()] == jax.tree.leaves(tree)
    seen = jax.tree.leaves(trees.map_with_path(lambda path, _: path, tree))
    assert seen == paths
    assert [trees.joined(*trees.names(path)) for path in paths] == paths


def test_keys_that_read_the_same_are_refused():
    tree = collections.OrderedDict([(1, 1.0), ("1", 2.0)])
    with pytest.raises(ValueError, match=r"two leaves have the path '1': \['1'\]"):
        trees.by_path(tree)
    with pytest.raises(ValueError, match="two leaves"):
        trees.to_arrays(tree)
    with pytest.raises(ValueError, match="two leaves"):
        trees.from_arrays({"1": np.ones(())}, tree)


def counted(params):
    return sj.masks.counts(sj.masks.ones(fn, params, X).weights)


def sized(params):
    return sj.masks.sizes(sj.masks.ones(fn, params, X).weights)


def removed(params, **options):
    ones = sj.masks.ones(fn, params, X).weights
    return sj.masks.counts(prune.remove(prune.magnitude(params), ones, 0, **options))


def in_sparse_kernels(params):
    return {k: m.nnz for k, m in flowgraph.kernels(params).items()}


def in_statistics(params):
    ones = sj.masks.ones(fn, params, X).weights
    found = weights.by_layer(params, ones)
    return {k: int(s.live.sum()) for k, s in found.items()}


def for_a_sample(params):
    trace = prune.spade(
        lambda params, x: fn(params, x),
        params,
        X[0],
        key=jax.random.key(0),
        density={"mlp%2Flinear/*": 1 / 3, "mlp/linear/*": 0.5},
        samples=8,
        augment=lambda key, x: x + jax.random.normal(key, x.shape),
        block_size=3,
    )
    return sj.masks.counts(trace.mask)


@pytest.mark.parametrize(
    "read, right",
    [
        (counted, {INNER: 6, OUTER: 9}),
        (sized, {INNER: 6, OUTER: 9}),
        (lambda p: removed(p, scope={OUTER: 1 / 3}), {INNER: 6, OUTER: 6}),
        (lambda p: removed(p, scope={INNER: 0.5}), {INNER: 3, OUTER: 9}),
        (
            lambda p: removed(p, scope=prune.erk(p, 0.6, power=0)),
            {INNER: 4, OUTER: 5},
        ),
        (in_sparse_kernels, {INNER: 6, OUTER: 9}),
        (in_statistics, {INNER: 6, OUTER: 9}),
        (for_a_sample, {INNER: 3, OUTER: 3}),
        (lambda p: {k: v.size for k, v in trees.to_arrays(p).items()},
         {INNER: 6, OUTER: 9}),
    ],
    ids=["counts", "sizes", "outer", "inner", "erk", "sparse", "statistics", "spade",
         "arrays"],
)  # fmt: skip
def test_both_kernels_are_there(read, right):
    assert read(colliding()) == right


def test_a_mask_of_the_wrong_shape_is_seen():
    params = colliding()
    mask = jax.tree.map(jnp.ones_like, params)
    sj.masks.check(params, mask)
    for name, shape in ((OUTER, (3, 3)), (INNER, (3, 2))):
        wrong = trees.map_with_path(
            lambda path, leaf, name=name: jnp.ones(7) if path == name else leaf, mask
        )
        with pytest.raises(ValueError) as error:
            sj.masks.check(params, wrong)
        assert repr(name) in str(error.value) and str(shape) in str(error.value)


def test_selections_see_escaped_paths():
    params, seen = colliding(), []
    sj.masks.ones(fn, params, X, prunable=lambda path, _: not seen.append(path))
    assert seen == [INNER, OUTER]
    check = relevance.randomization_check(
        lambda p: jax.grad(lambda x: fn(p, x).sum())(X), params, jax.random.key(0)
    )
    assert check.layers == ("mlp/linear", "mlp%2Flinear")  # the last first


def archive(arrays):
    """A file as `runs` wrote it before names were escaped."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


PLAIN = {"dense_0": {"kernel": np.float32([1, 2])}, "b": (np.float32(3),)}
SLASHED = {"mlp/linear": {"w": np.float32([1, 2])}, "100%": np.float32(3)}
PERCENT = {"a/b": np.float32([1]), "a%2Fb": np.float32([2])}


@pytest.mark.parametrize(
    "tree, old",
    [
        (PLAIN, {"dense_0/kernel": [1, 2], "b/0": 3}),
        (SLASHED, {"mlp/linear/w": [1, 2], "100%": 3}),
        (PERCENT, {"a/b": [1], "a%2Fb": [2]}),
    ],
    ids=["plain", "slashes", "percent"],
)
def test_files_of_both_forms_are_read(tree, old, tmp_path):
    (tmp_path / "old.npz").write_bytes(
        archive({k: np.float32(v) for k, v in old.items()})
    )
    runs.write_arrays(tmp_path / "new.npz", trees.to_arrays(tree))
    for name in ("old", "new"):
        back = trees.from_arrays(runs.read_arrays(tmp_path / f"{name}.npz"), tree)
        assert jax.tree.structure(back) == jax.tree.structure(tree)
        for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(tree), strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_old_file_that_lost_a_leaf_is_refused():
    params = colliding()
    with pytest.raises(ValueError, match="no array 'mlp%2Flinear/w'"):
        trees.from_arrays({INNER: np.ones((3, 2), np.float32)}, params)
    back = trees.from_arrays(trees.to_arrays(params), params)
    np.testing.assert_array_equal(back["mlp/linear"]["w"], params["mlp/linear"]["w"])
    np.testing.assert_array_equal(
        back["mlp"]["linear"]["w"], params["mlp"]["linear"]["w"]
    )


@pytest.mark.parametrize(
    "arrays, right",
    [
        ({"a/b": 1, "a/c": 2, "d": 3}, {"a": {"b": 1, "c": 2}, "d": 3}),
        ({"mlp%2Flinear/w": 1, "mlp/linear/w": 2},
         {"mlp/linear": {"w": 1}, "mlp": {"linear": {"w": 2}}}),
        ({"100%25": 1, "a%252Fb": 2}, {"100%": 1, "a%2Fb": 2}),
        ({"a": 1, "a/b": 2}, "an array lies at 'a', and 'a/b'"),
        ({"a/b": 1, "a": 2}, "several arrays lie at 'a'"),
        ({"a%": 1, "a%25": 2}, "several arrays lie at 'a%25'"),
    ],
    ids=str,
)  # fmt: skip
def test_nested_undoes_by_path_or_refuses(arrays, right):
    if isinstance(right, str):
        with pytest.raises(ValueError, match=right):
            trees.nested(arrays)
        return
    assert trees.nested(arrays) == right
    assert set(trees.by_path(right)) == set(arrays)


def test_names_of_arrays_in_files(tmp_path):
    """Whatever an array is called, it is read back under that name."""
    names = ["file", "allow_pickle", "a", "a.npy", "a.npy.npy", "", "ä/ö", "a b"]
    arrays = {name: np.full(2, i) for i, name in enumerate(names)}
    runs.write_arrays(tmp_path / "x.npz", arrays)
    back = runs.read_arrays(tmp_path / "x.npz")
    assert list(back) == names
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


def test_names_of_files_stay_apart():
    names = ["a/b", "a-b", "a%2Fb", "a b", "a_b", "..", "ä", "layer1_0"]
    files = [runs.file_name(name) for name in names]
    assert len(set(files)) == len(names) and not any("/" in file for file in files)
    assert files[-1] == "layer1_0"


def test_checkpoints_of_sweeps_go_on(tmp_path):
    """They record names as they always have, so that old ones fit."""
    masks = {"mlp/linear": np.eye(2, dtype=np.float32), "b": np.ones((2, 3), bool)}

    def fn(mask):
        return {"a/b": mask["mlp/linear"].sum()}

    def run():
        return sj.sweep.evaluate(
            fn, masks, checkpoint=tmp_path / "sweep", progress=False, batch_size=2
        )

    first = run()
    recorded = runs.read_json(tmp_path / "sweep" / "sweep.json")
    parts = (b"b bool (2, 3)", masks["b"], b"mlp/linear float32 (2, 2)")
    digest = hashlib.sha256(b"".join(map(bytes, (*parts, masks["mlp/linear"]))))
    assert recorded["masks"] == digest.hexdigest()
    assert recorded["results"] == {"a/b": "float32()"}
    jax.tree.map(np.testing.assert_array_equal, run(), first)
