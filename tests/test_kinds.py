"""Every analysis on every kind of input and output: it works, or one line mends it.

Where a function is refused, the line says what to close over or to leave out; with that
done, the same analysis works.
"""

import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax import (
    data,
    dissect,
    features,
    flowgraph,
    hypercube,
    lift,
    masks,
    prune,
    relevance,
    sweep,
    train,
    weights,
)

X = jnp.array([0.5, -1.0, 2.0])
TOKENS = jnp.array([2, 0, 1])
P = {
    "embed": jnp.arange(9.0).reshape(3, 3) / 4 - 1,
    "a": jnp.arange(12.0).reshape(3, 4) / 5 - 1,
    "c": jnp.array([0.3, 0.1, 0.2, 1.0]),
    "b": jnp.arange(8.0).reshape(4, 2) / 3 - 1,
    "d": jnp.array([0.1, -0.2]),
    "e": jnp.array([0.3, -0.1]),
}


def net(p, x):
    h = checkpoint_name(jax.nn.relu(x @ p["a"] + p["c"]), "hidden")
    return h @ p["b"] + p["d"]


def tokens(p, x):
    return net(p, checkpoint_name(p["embed"][x], "rows").sum(0))


def several(p, x):
    return net(p, x["a"] + x["b"])


def choice(p, x):
    return net(p, x["a"]) + p["e"][x["class"]]


def pair(p, x):
    return net(p, x[0] + x[1])


def noisy(p, x):
    return net(p, x["a"] + jax.random.normal(x["key"], (3,)))


def drawn(p, key):
    return net(p, checkpoint_name(jax.random.normal(key, (3,)), "rows"))


def outputs(p, x):
    out = net(p, x)
    return {"aux": out.sum(), "logits": out}


class Sown(linen.Module):
    """A mutable collection: what is sown comes back beside the output."""

    @linen.compact
    def __call__(self, x):
        h = checkpoint_name(linen.relu(linen.Dense(4)(x)), "hidden")
        self.sow("intermediates", "mean", h)
        return linen.Dense(2)(h)


VARIABLES = {
    "params": {
        "Dense_0": {"kernel": P["a"], "bias": P["c"]},
        "Dense_1": {"kernel": P["b"], "bias": P["d"]},
    }
}


def mutable(variables, x):
    return Sown().apply(variables, x, mutable=["intermediates"])


def state(p, x):
    """Keys and counters among the parameters, as in states of NNX."""
    return net(p, x + jax.random.normal(p["key"], (3,)))


STATE = {**P, "key": jax.random.key(1), "count": jnp.uint32(3)}


class Kind(NamedTuple):
    """A function, its parameters and input; and what a line says to pass instead."""

    fn: Any
    params: Any
    x: Any
    mended: Any = None
    mended_x: Any = X
    target: Any = 0


def first(fn, x):
    return lambda p, a: fn(p, {**x, "a": a})


BOTH, CHOICE = {"a": X, "b": 2 * X}, {"class": jnp.array(1), "a": X}
NOISY = {"key": jax.random.key(0), "a": X}
KINDS = {
    "tokens": Kind(
        tokens,
        P,
        TOKENS,
        lambda p, h: sj.edit(tokens, {"rows": lambda _: h})(p, TOKENS),
        P["embed"][TOKENS],
    ),
    "dict": Kind(several, P, BOTH, first(several, BOTH)),
    "dict with an integer": Kind(choice, P, CHOICE, first(choice, CHOICE)),
    "tuple": Kind(pair, P, (X, X), lambda p, a: pair(p, (a, X))),
    "dict with a key": Kind(noisy, P, NOISY, first(noisy, NOISY)),
    "key": Kind(
        drawn,
        P,
        jax.random.key(0),
        lambda p, h: sj.edit(drawn, {"rows": lambda _: h})(p, jax.random.key(0)),
    ),
    "dict of outputs": Kind(
        outputs,
        P,
        X,
        lambda p, x: outputs(p, x)["logits"],
        target=lambda out: out["logits"][0],
    ),
    "mutable": Kind(
        mutable,
        VARIABLES,
        X,
        lambda v, x: mutable(v, x)[0],
        target=lambda out: out[0][0],
    ),
    "state": Kind(state, STATE, X),
}
TREES = ["dict", "dict with an integer", "tuple", "dict with a key"]
NUMBERS = ["tokens", "key"]
RESULTS = ["dict of outputs", "mutable"]


def batch(x):
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), x)


def of_nodes(fn, params, x):
    apply, ones = lift.masked(fn), masks.ones(fn, params, x)
    return lambda m: apply(params, ones._replace(nodes={"hidden": m}), x)


def batched(fn, params, x):
    def apply(params, masks, x):
        return jax.vmap(lambda x: lift.masked(fn)(params, masks, x))(x)

    return apply, params, masks.ones(fn, params, x), (batch(x), np.array([0, 1]))


def cam(fn, params, x, target):
    """Of two places that are alike."""

    def places(params, x):
        out = lift.edit(fn, {"hidden": lambda h: h * 2})(params, x)
        (h,) = lift.activations(fn, "hidden")(params, x)[1].values()
        h = checkpoint_name(jnp.stack([h, h]), "places")
        return target(out) if callable(target) else out[target] + h.sum()

    return relevance.grad_cam(places, params, x, "places")


def dissected(fn, params, x, target):
    labels = data.Labels(("", "label"), ("color",), np.array([-1, 0]))
    pixels, whole = np.ones((2, 1, 2, 2), int), np.zeros((2, 0), int)
    batches = [(batch(x), pixels, whole)]
    return dissect.dissect(
        fn, params, "hidden", batches, labels, quantile=0.5, progress=False
    ).thresholds


def rendered(fn, params, x, target, node="hidden"):
    shape = jnp.shape(x) if isinstance(x, jax.Array) else (3,)
    return features.render(
        fn, params, node, [0], key=jax.random.key(0), size=shape or (3,), steps=1,
        parametrization=features.pixels(), transform=features.compose(), batch_size=1,
        progress=False,
    ).values  # fmt: skip


def expanded(fn, params, x, target, ends=(None, "hidden")):
    shape = jnp.shape(x) if isinstance(x, jax.Array) else (3,)
    return weights.expand(fn, params, *ends, size=shape or (3,)).weights


def removed(fn, params, x, target):
    nodes = {"hidden": jnp.array([1.0, 0, 1, 1])}
    return prune.remove_nodes(fn, params, nodes, batch(x), per_example=True)


def fitted(fn, params, x, target):
    *given, examples = batched(fn, params, x)
    state, _ = train.fit(
        *given, examples, optimizer=optax.sgd(0.1), batch_size=2, steps=1,
        key=jax.random.key(0),
    )  # fmt: skip
    return state.params


def traced(fn, params, x, target):
    return flowgraph.trace(lambda x: fn(params, x), x).evaluate(x)


def plain(function):
    """Without the checks of annotations that only tests have."""
    return inspect.unwrap(function)


# What every analysis does, and the kinds that it refuses, each with its line.
ONE, REAL = "must be one array, got a .*; close over", "at='params/embed:out' explains"
TAKES = "does not take one .*array.*; close over other inputs: lambda params, a: fn"
BEGIN = "for tokens begin at a named lookup: lambda (params, )?h: sj.edit"
ALONE = r"lambda (params, )?x: fn\((params, )?x\)\[('logits'|0)\]"


def refused(*pairs):
    return {kind: line for kinds, line in pairs for kind in kinds}


ANALYSES = {
    "masks.ones": (lambda fn, p, x, t: masks.ones(fn, p, x).nodes, {}),
    "masked": (lambda fn, p, x, t: of_nodes(fn, p, x)(jnp.ones(4)), {}),
    "activations": (lambda fn, p, x, t: lift.activations(fn)(p, x)[1], {}),
    "edit": (lambda fn, p, x, t: lift.edit(fn, {"hidden": jnp.sin})(p, x), {}),
    "explain": (
        lambda fn, p, x, t: plain(relevance.explain)(
            fn, p, x, target=t, baseline="zero"
        ).residual(),
        refused((NUMBERS, REAL)),
    ),
    "gradient": (
        lambda fn, p, x, t: plain(relevance.gradient)(fn, p, x, target=t),
        refused((NUMBERS, REAL), (TREES, ONE)),
    ),
    "grad_cam": (cam, {}),
    "outside_squared": (
        lambda fn, p, x, t: plain(relevance.outside_squared)(
            fn, p, x, jnp.ones(getattr(x, "shape", ()), bool)
        ),
        refused((NUMBERS, REAL), (TREES, ONE), (RESULTS, ALONE)),
    ),
    "flowgraph.trace": (
        traced, refused((NUMBERS, BEGIN), (TREES, ONE), (RESULTS, ALONE))
    ),
    "features.render": (rendered, refused((NUMBERS + TREES, TAKES))),
    "features.render of logits": (
        lambda *given: rendered(*given, node=features.logit()),
        refused((NUMBERS + TREES, TAKES), (RESULTS, ALONE)),
    ),
    "dissect": (dissected, refused((TREES, ONE), (["key"], "what is drawn from"))),
    "weights.expand": (expanded, refused((NUMBERS + TREES, TAKES))),
    "weights.expand to logits": (
        lambda *given: expanded(*given, ends=("hidden", None)),
        refused((NUMBERS + TREES, TAKES), (RESULTS, ALONE)),
    ),
    "weights.gradients": (
        lambda fn, p, x, t: plain(weights.gradients)(
            fn, p, batch(x), None, "hidden"
        ).weights,
        refused((NUMBERS, BEGIN), (TREES, ONE)),
    ),
    "remove_nodes": (
        removed, refused((["mutable"], ALONE))
    ),
    "layer_hessians": (
        lambda fn, p, x, t: prune.layer_hessians(fn, p, batch(x))[0].state.products, {}
    ),
    "spade": (
        lambda fn, p, x, t: plain(prune.spade)(
            fn, p, x, key=jax.random.key(0), density=0.5, samples=2
        ).mask,
        refused((NUMBERS, BEGIN), (TREES, ONE)),
    ),
    "sweep": (
        lambda fn, p, x, t: sweep.evaluate(
            of_nodes(fn, p, x), jnp.eye(4)[:2], progress=False
        ),
        {},
    ),
    "hypercube": (
        lambda fn, p, x, t: hypercube.evaluate(
            lambda m: of_nodes(fn, p, x)(jnp.repeat(m, 4)), 1, progress=False
        ),
        {},
    ),
    "train.fit": (fitted, refused((RESULTS, "pass loss= and metrics="))),
}  # fmt: skip


# Those that compile for long: the mended functions are the same as for the others, and
# kinds that are much like another are left out.
COMPILED = {
    "features.render",
    "features.render of logits",
    "outside_squared",
    "train.fit",
    "weights.expand to logits",
}
ALIKE = ["dict with an integer", "tuple", "dict with a key"]
CELLS = [
    (analysis, kind)
    for analysis in ANALYSES
    for kind in KINDS
    if analysis not in COMPILED or kind not in (*ALIKE, "state")
]


@pytest.fixture(autouse=True)
def keys_may_be_used_again():
    """What a function does with its key, every analysis does as often as it runs it."""
    with jax.debug_key_reuse(False):
        yield


@pytest.mark.parametrize("analysis, kind", CELLS)
def test_it_works_or_a_line_mends_it(analysis, kind):
    run, lines = ANALYSES[analysis]
    fn, params, x, mended, mended_x, target = KINDS[kind]
    if kind in lines:
        with pytest.raises(ValueError, match=lines[kind]) as caught:
            run(fn, params, x, target)
        assert "\n" not in str(caught.value)
        if analysis in COMPILED or (kind in ALIKE and analysis != "gradient"):
            return
        fn, x, target = mended, mended_x, 0
    for leaf in jax.tree.leaves(run(fn, params, x, target)):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            assert np.isfinite(leaf).all()
