"""Every analysis on eight devices, beside one.

Run by `test_meshes.py` with a file, the kind of the mesh's axes, for each of two
processes with a port and its number, as Auto:6000:1, and the names of cases, by default
of all. Writes `{name: "ok"}` into the file, or how the result differs from that of one
device; and of some the operations of one device, as a share of those of one alone.
"""

import contextlib
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.ad_checkpoint import checkpoint_name
from jax.core import Tracer
from jax.sharding import AxisType

import sparsejax as sj
from sparsejax import interpret, meshes
from sparsejax.rl import dqn

FILE = Path(sys.argv[1])  # between lines on stdout there may be ones of libraries
kind, *place = sys.argv[2].split(":")
KIND = getattr(AxisType, kind)
if place:
    jax.distributed.initialize(f"127.0.0.1:{place[0]}", 2, int(place[1]))
ONE = jax.make_mesh((8,), ("all",), axis_types=(KIND,))
TWO = jax.make_mesh((4, 2), ("rows", "columns"), axis_types=(KIND, KIND))
RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 48).astype(np.int32)
IMAGES = RNG.normal(size=(20, 8, 8, 3)).astype(np.float32)
MODEL = sj.models.mlp((8,), 3)
APPLY = sj.masked(MODEL.apply)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0), X[:1])
MASKS = sj.masks.ones(MODEL.apply, PARAMS, X[:1])
KEY = jax.random.key(1)


def stack(tree, count):
    return jax.tree.map(lambda a: jnp.stack([a] * count), tree)


def keys(count):
    return jax.vmap(jax.random.key)(jnp.arange(count))


def loss(mask):
    masks = MASKS._replace(nodes=MASKS.nodes | {"hidden_0": mask})
    return sj.train.cross_entropy(APPLY(PARAMS, masks, X), Y)


def draw(index):
    return sj.masks.bernoulli(jax.random.fold_in(KEY, index), jnp.ones(8), 0.5)


def sweep(mesh):
    """Of drawn masks, with gradients; the masks themselves are compared exactly."""
    both = jax.value_and_grad(lambda m: (loss(m), m), has_aux=True)
    (value, masks), grad = sj.sweep.evaluate(
        both, draw, count=100, progress=False, mesh=mesh
    )
    return (value, grad), masks


def stacked_masks(mesh):
    masks = jax.vmap(draw)(jnp.arange(37))
    return sj.sweep.evaluate(loss, masks, progress=False, mesh=mesh), ()


def checkpoint(mesh):
    """Begun on one device, continued on eight with batches of another size, or not."""
    masks, options = jax.vmap(draw)(jnp.arange(300)), {"progress": False}
    values = []
    for kind in (np.asarray(masks), draw):
        options["count"] = 300
        with tempfile.TemporaryDirectory() as folder:
            options["checkpoint"] = Path(folder)
            sj.sweep.evaluate(loss, kind, **options, batch_size=2)
            for file in sorted(Path(folder).glob("masks_*"))[1:]:
                file.unlink()
            values.append(sj.sweep.evaluate(loss, kind, **options, mesh=mesh))
    return values, ()


def hypercube(mesh):
    return sj.hypercube.evaluate(loss, 8, progress=False, mesh=mesh), ()


def groups(mesh):
    """Successive subsets share work, on every device."""

    def of_groups(masks):
        return loss(jnp.concatenate([masks["first"], masks["second"]]))

    sizes = {"first": 5, "second": 3}
    return sj.hypercube.evaluate(of_groups, sizes, progress=False, mesh=mesh), ()


FIT = {"optimizer": optax.adam(0.01), "batch_size": 16, "epochs": 2}


def fit(mesh, count=None, size=16):
    params, masks, key = PARAMS, MASKS, KEY
    if count:
        params, masks, key = stack(params, count), stack(masks, count), keys(count)
    state, metrics = sj.train.fit(
        APPLY, params, masks, (X, Y), key=key, mesh=mesh, **FIT | {"batch_size": size}
    )
    tests = sj.train.evaluate(
        APPLY, state.params, masks, (X, Y), stacked=bool(count), mesh=mesh
    )
    return (state.params, metrics, tests), state.step


def resnet(mesh):
    """Batch statistics are of the whole batch."""
    model = sj.models.resnet(8, 3, (4, 4, 4))
    params = jax.jit(model.init)(KEY, IMAGES[:1])
    apply = sj.masked(model.train_apply)
    state, metrics = sj.train.fit(
        apply, params, sj.masks.ones(model.apply, params, IMAGES[:1]),
        (IMAGES, Y[:20]), key=KEY, trainable=sj.models.is_trainable, stateful=True,
        optimizer=optax.sgd(0.01), batch_size=8, steps=2, mesh=mesh,
    )  # fmt: skip
    return (state.params, metrics), ()


def lottery(mesh, count=3):
    state = sj.train.init(stack(PARAMS, count), FIT["optimizer"], keys(count))
    weights = stack(MASKS, count).weights

    def train(state, mask, stop):
        masks = stack(MASKS, count)._replace(weights=mask)
        return sj.train.fit(
            APPLY, None, masks, (X, Y), key=state.key, state=state, batch_size=16,
            optimizer=FIT["optimizer"], steps=stop or 6,
        )[0]  # fmt: skip

    tickets = sj.prune.lottery(
        train, state, weights, rounds=2, fraction=0.4, mesh=mesh, allow_empty=False
    )
    return [t.trained.params for t in tickets], [t.mask for t in tickets]


def agents(mesh):
    config = dqn.Config(
        widths=(8,), steps=512, block=128, updates=2, warmup=200, evaluations=2,
        episodes=2,
    )  # fmt: skip
    trained = dqn.train(config, keys(3), mesh=mesh)
    return trained.params, trained.steps


def relevance(mesh):
    """Images of a batch, and the points of one explanation."""

    def fn(params, x):
        return MODEL.apply(params, x[None])[0]

    def one(x):
        return sj.relevance.explain(fn, PARAMS, x, target=0).input

    many = meshes.split(jax.vmap(one), mesh=mesh)(X[:13])
    given = fn, PARAMS, jnp.asarray(X[0])
    with meshes.over(mesh):
        way = sj.relevance.integrated_gradients(*given, target=0)
        hidden = sj.relevance.occlusion(*given, target=0, window=1)
    return (many, way, hidden), ()


def named(params, image):
    return checkpoint_name(jnp.tanh(image @ params), "maps").sum((0, 1))


KERNEL = RNG.normal(size=(3, 5)).astype(np.float32)


def dissect(mesh):
    labels = sj.data.Labels(("", "bright"), ("color",), np.array([-1, 0]))
    pixels = (IMAGES.mean(-1) > 0).astype(int)[:, None]
    batches = [(IMAGES, pixels, np.zeros((20, 0), int))]
    found = sj.dissect.dissect(
        named, KERNEL, "maps", batches, labels, quantile=0.1, batch_size=2,
        progress=False, mesh=mesh,
    )  # fmt: skip
    return found.thresholds, (found.tally.both, found.exemplars)


def features(mesh):
    found = sj.features.render(
        named, KERNEL, "maps", None, key=KEY, size=(8, 8, 3), steps=3, progress=False,
        mesh=mesh,
    )  # fmt: skip
    return (found.images, found.values, found.history), found.units


CASES = {
    "sweep": sweep,
    "sweep of stacked masks": stacked_masks,
    "sweep with a checkpoint": checkpoint,
    "hypercube": hypercube,
    "hypercube of groups": groups,
    "fit": fit,
    "fit an odd batch": partial(fit, size=13),
    "fit stacked": partial(fit, count=8),
    "fit three": partial(fit, count=3),
    "fit a residual network": resnet,
    "lottery": lottery,
    "lottery of eight": partial(lottery, count=8),
    "dqn": agents,
    "relevance": relevance,
    "dissect": dissect,
    "features": features,
}


def compare(results, expected):
    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

    results, expected = meshes.fetch(results), jax.device_get(expected)
    jax.tree.map(close, results[0], expected[0])
    jax.tree.map(np.testing.assert_array_equal, results[1], expected[1])


SHARES = {
    "sweep": sweep,
    "sweep of stacked masks": stacked_masks,
    "fit": partial(fit, size=48),
    "fit stacked": partial(fit, count=8),
    "lottery of eight": partial(lottery, count=8),
    "dissect": dissect,
    "features": features,
}


def operations(case, mesh):
    """Of one device: floating point operations of the programs that a case runs.

    A loop's are those of one step. Counts are of one mask, one batch and so on for each
    device, so that this is the share of the work.
    """
    plain, counts = interpret.Compiled.__call__, []

    def counted(self, *args):
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(args)):
            return plain(self, *args)
        cost = self.lower(*args).compile().cost_analysis()
        counts.append(cost.get("flops", 0) if cost else 0)
        return plain(self, *args)

    interpret.Compiled.__call__ = counted
    try:
        case(mesh)
    finally:
        interpret.Compiled.__call__ = plain
    return sum(counts)


def share(case):
    return operations(case, ONE) / operations(case, None)


def said(compute):
    try:
        return compute()
    except Exception as error:
        return f"{type(error).__name__} {error}".replace("\n", " ")


def refused():
    """A sweep whose function indexes what lies on the mesh, and closes over it."""
    with jax.set_mesh(ONE):
        table = jnp.arange(24.0).reshape(3, 8)

        def fn(mask):
            return (mask * table[1]).sum()

        with contextlib.suppress(ValueError):
            sj.sweep.evaluate(fn, draw, count=16, progress=False)
            return "ok" if KIND is AxisType.Explicit else "was not refused"
        local = meshes.local(table)
        sj.sweep.evaluate(
            lambda mask: (mask * local[1]).sum(), draw, count=16, progress=False
        )
    return "ok"


def same(case, expected, mesh, inside):
    with jax.set_mesh(inside) if inside else contextlib.nullcontext():
        compare(case(mesh), expected)
    return "ok"


def same_by_default(case, expected):
    """Results of calls that are given no mesh: whole, on the first device."""
    with meshes.by_default(ONE) as split:
        results = case(None)
    for leaf in jax.tree.leaves(results):
        if isinstance(leaf, jax.Array):
            assert leaf.sharding.device_set == {jax.local_devices()[0]}, leaf.sharding
    compare(results, expected)
    return "ok" if split or case is relevance else "nothing was split"


def by_default():
    """Functions that are compiled, inside others too, and arrays of keys."""
    square = meshes.spread(jax.vmap(lambda x: x**2))

    @meshes.on_mesh
    def drawn(key, count, mesh=None):
        with meshes.over(mesh):
            return meshes.lay(jax.random.split(key, count))

    with meshes.by_default(ONE) as split:
        np.testing.assert_array_equal(square(X[:13]), X[:13] ** 2)
        np.testing.assert_array_equal(jax.jit(square)(X[:13]), X[:13] ** 2)
        found = jax.random.key_data(drawn(KEY, 16))
    expected = jax.random.key_data(jax.random.split(KEY, 16))
    np.testing.assert_array_equal(found, expected)
    return "ok" if split == ["<lambda>", "drawn"] else str(split)


def main():
    where = {"": (ONE, None), ", in two axes": (TWO, None)}
    where |= {", within a mesh": (None, ONE)}
    names = sys.argv[3:] or [*CASES]
    found = {}
    for name in names:
        if name in CASES:
            expected = CASES[name](None)
        for more, meshes_ in where.items():
            if name in CASES:
                says = said(partial(same, CASES[name], expected, *meshes_))
                found[name + more] = says
        if name in CASES:
            says = said(partial(same_by_default, CASES[name], expected))
            found[f"{name}, by default"] = says
    if "sweep" in names:
        found["a sweep of what is closed over"] = said(refused)
        found["by default"] = said(by_default)
    for name in SHARES:
        if name in names:
            found[f"share of {name}"] = said(partial(share, SHARES[name]))
    FILE.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
