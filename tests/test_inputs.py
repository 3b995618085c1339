"""What analyses are handed over: one or several, trees, tokens, sizes, odd leaves."""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax
from sparsejax import (
    features,
    flowgraph,
    hypercube,
    models,
    prune,
    removal,
    rl,
    weights,
)
from sparsejax.hypercube import _exact as exact
from sparsejax.rl import dqn, rollout

OWN = ("features", "flowgraph", "hypercube", "models", "removal", "rl", "weights")
P = {"a": np.arange(12, dtype="f4").reshape(3, 4) - 5, "b": np.ones((4, 2), "f4")}
X = np.array([0.5, -1.0, 2.0], "f4")
MAP = np.arange(18, dtype="f4").reshape(3, 3, 2)


def KEY():
    return jax.random.key(0)


def net(params, x):
    h = checkpoint_name(jax.nn.relu(x @ params["a"]), "hidden")
    return h @ params["b"]


def places(params, x):
    return x * params


def layers(x=X[None]):
    return prune.layer_hessians(net, P, jnp.asarray(x))


def tune(seen=None, groups=("a",), densities=(0.5,)):
    def score(pruned, i):
        return float(jnp.abs(net(pruned, X)).sum())

    seen = [layers()] if seen is None else seen
    return prune.tune_density(
        P, seen, score, groups=groups, densities=densities, progress=False
    )._asdict()


def render(units=(0,), size=(3,), fn=net, params=P, node=None):
    node = features.logit() if node is None else node
    found = features.render(
        fn, params, node, units, key=KEY(), size=size, steps=2, progress=False
    )
    return found._asdict()


GRAPH = flowgraph.trace(lambda x: net(P, x), X)


def trace(**options):
    return flowgraph.trace(lambda x: jax.nn.silu(x), X, **options).to_json()


def total_of(x):
    return x.sum()


value, four = lambda acts, unit: acts["hidden"][:, unit], lambda acts: 4


def act(seen):
    return jnp.int32(seen[2] > 0)


CART = rl.environments.load("CartPole-v0")


def shapes(model, x):
    return jax.tree.map(jnp.shape, jax.eval_shape(model.init, KEY(), jnp.ones(x)))


# What is asked, one value, and several; None where one value means something else.
FOUR = np.array([4.0, 1.0, 3.0, 2.0])  # of all subsets of two
SEVERAL = {
    "features.objectives.neuron place": (
        lambda v: features.neuron("", 0, v).value({"": jnp.ones((1, 3, 4))}, 0), 1, [2]
    ),
    "features.objectives.Objective nodes": (
        lambda v: render(node=features.Objective(v, value, four))["values"],
        "hidden", ["hidden"]
    ),
    "hypercube.exact.keep_probs keep_prob": (
        lambda v: exact.keep_probs(v), 0.5, [0.5, 0.25]
    ),
    "hypercube.exact.mean keep_prob": (
        lambda v: hypercube.mean(np.arange(4.0), v), 0.5, [0.5, 0.25]
    ),
    "hypercube.estimate.estimate_mean keep_prob": (
        lambda v: hypercube.estimate_mean(
            lambda m: m.sum(), 2, v, key=KEY(), samples=4, progress=False
        ).values,
        0.5, [0.5, 0.25]
    ),
    "hypercube.metrics.cpr subsets": (
        lambda v: hypercube.cpr(FOUR, v), None, [0, 2, 3]
    ),
    "hypercube.metrics.cpr points": (
        lambda v: hypercube.cpr(FOUR, [0, 2, 3], points=v), None, [0.5, 1.0]
    ),
    "hypercube.metrics.cmd subsets": (
        lambda v: hypercube.cmd(FOUR, v), None, [0, 2, 3]
    ),
    "hypercube.metrics.cmd points": (
        lambda v: hypercube.cmd(FOUR, [0, 2, 3], points=v), None, [0.5, 1.0]
    ),
    "models.planted.units.addition frequencies": (
        lambda v: models.planted.addition(5, v).params, 1, [1, 2]
    ),
    "features.render.render size": (
        lambda v: render(size=v)["images"], 3, [3]
    ),
    "features.render.render units": (
        lambda v: render(units=v)["images"], 1, [1, 0]
    ),
    "features.transforms.standard places": (
        lambda v: id(features.standard(v)), 5, [5, 6]
    ),
    "flowgraph.graph.Graph.bounds nodes": (
        lambda v: GRAPH.bounds(nodes=v)._asdict(), "hidden[1]", [3, 5]
    ),
    "flowgraph.structure.Structure.subgraph outputs": (
        lambda v: GRAPH.subgraph(v).to_json(), 1, ["output_1", 0]
    ),
    "flowgraph.trace.trace boxes": (
        lambda v: trace(boxes=v), "silu", ["silu", "selu"]
    ),
    "flowgraph.trace.trace image": (lambda v: trace(image=v), None, [1, 3]),
    "flowgraph.trace.trace names": (lambda v: trace(names=v), None, ["a", "b", "c"]),
    "flowgraph.trace.trace output_names": (
        lambda v: flowgraph.trace(total_of, X, output_names=v).output_names, "out",
        ["out"]
    ),
    "models.modules.convnet widths": (
        lambda v: shapes(models.convnet(v), (9, 9, 1)), 3, [3, 2]
    ),
    "models.modules.mlp widths": (lambda v: shapes(models.mlp(v, 2), 4), 3, [3, 2]),
    "models.modules.resnet widths": (
        lambda v: shapes(models.resnet(8, widths=v), (8, 8, 1)), None, [1, 2, 2]
    ),
    "prune.tuning.tune_density densities": (
        lambda v: tune(densities=v), 0.5, [0.5, 0.25]
    ),
    "prune.tuning.tune_density groups": (lambda v: tune(groups=v), "a", ["a", "b"]),
    "prune.tuning.tune_density seen": (
        lambda v: tune(seen=v), None, [layers(), layers(X[None] + 1)]
    ),
    "rl.dqn.Config widths": (
        lambda v: [dqn.init(made, KEY()) for made in [dqn.Config(widths=v)] * 2],
        3, [3, 2]
    ),
    "rl.rollout.returns_within limits": (
        lambda v: rollout.returns_within(CART, act, KEY(), 2, v), 9, [9, 20]
    ),
    "weights.averaged.gradients position": (
        lambda v: weights.gradients(
            places, np.ones(2, "f4"), MAP[:1], None, None, position=v
        ).weights, 1, [2]
    ),
    "weights.averaged.gradients units": (
        lambda v: weights.gradients(net, P, X[None], None, None, units=v).weights,
        1, [1, 0]
    ),
    "weights.expanded.expand position": (
        lambda v: weights.expand(
            places, np.ones(2, "f4"), None, None, size=(3, 2), position=v
        ).weights, 1, [2]
    ),
    "weights.expanded.expand size": (
        lambda v: weights.expand(net, P, None, None, size=v).weights, 3, [3]
    ),
    "weights.expanded.expand units": (
        lambda v: weights.expand(net, P, None, None, size=3, units=v).weights,
        1, [1, 0]
    ),
}  # fmt: skip


def same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("case", SEVERAL)
def test_one_alone_is_a_list_of_one_and_iterators_are_read_once(case):
    call, one, several = SEVERAL[case]
    expected = call(several)
    same(call(value for value in several), expected)
    same(call(tuple(several)), expected)
    if one is not None:
        same(call(one), call([one]))
    if all(isinstance(value, int) for value in several):
        same(call(np.asarray(several)), expected)


def public():
    """Functions and methods of these parts, and classes."""
    for module in pkgutil.walk_packages(sparsejax.__path__, "sparsejax."):
        path = module.name.removeprefix("sparsejax.").replace("._", ".")
        if not path.startswith((*OWN, "prune.tuning")):
            continue
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            if getattr(value, "__module__", "") != module.name or name[0] == "_":
                continue
            if inspect.isclass(value):
                for method, inner in vars(value).items():
                    if method[0] != "_" and inspect.isfunction(inner):
                        yield f"{path}.{name}.{method}", inner
            elif callable(value):
                yield f"{path}.{name}", value


def test_no_argument_is_forgotten():
    found = {
        f"{name} {argument.name}"
        for name, function in public()
        for argument in inspect.signature(function).parameters.values()
        if "Iterable" in str(argument.annotation)
    }
    # `trace` hands all of its arguments on to `whole`.
    assert {name.replace("trace.whole", "trace.trace") for name in found} <= {*SEVERAL}
    assert len(found) > 15


tokens = np.array([0, 2, 1])


def embed(params, x):
    return params["a"][x].sum(0) @ params["b"]


def pair(params, x):
    return net(params, x["a"]) + x["b"]


BOTH = {"a": X, "b": X}


def spade(x=X, fn=net, params=P):
    return prune.spade(fn, params, x, key=KEY(), density=0.5, samples=2)


def expand(fn=net, params=P, size=(3,)):
    return weights.expand(fn, params, None, None, size=size)


def slope(x=X[None], fn=net, params=P):
    return weights.gradients(fn, params, x, None, None)


odd = {**P, "activation": jax.nn.relu}
torch = type("Tensor", (), {"__module__": "torch"})()

CLOSE = r"x must be one array, got a dict of 'a', 'b'; close over all but one of them: "
A, HIDDEN = (
    CLOSE + r"lambda params, a: fn\(params, {\*\*x, 'a': a}\)",
    "not arrays .'activa",
)
LOOKUP = "for tokens begin at a named lookup: lambda (params, )?h: "
REAL = f"x must be of real numbers, got int64 of shape .3,.; {LOOKUP}"
REFUSED = {
    "spade dict": (lambda: spade(BOTH), A),
    "spade tuple": (lambda: spade((X, X)), r"a tuple of 2; .*fn\(params, \(first, \*x"),
    "spade list of numbers": (lambda: spade([1.0, 2.0]), "one array, got a list of 2$"),
    "spade None": (lambda: spade(None), "x must be one array, got None$"),
    "spade of another library": (lambda: spade(torch), "NumPy or JAX.*a torch.Tensor"),
    "spade strings": (lambda: spade(np.array(["a"])), "array of numbers, got <U1"),
    "spade tokens": (lambda: spade(tokens, embed), REAL),
    "spade of a dict's fn": (lambda: spade(fn=pair), "fn takes no example of shape"),
    "spade of two inputs": (lambda: spade(fn=lambda p, x, y: x), "no example.*'y'"),
    "spade NaN": (lambda: spade(X * np.nan), "x has values that are NaN"),
    "spade odd leaf": (lambda: spade(params=odd), HIDDEN),
    "tune odd leaf": (
        lambda: prune.tune_density(odd, [layers()], max, groups="a"), HIDDEN
    ),
    "render dict": (lambda: render(size={"a": 3, "b": 3}), "render makes one array; "),
    "render of a dict's fn": (lambda: render(fn=pair), "does not take one such array"),
    "render tokens": (lambda: render(fn=embed), f"does not take.*nteger.*{LOOKUP}"),
    "render fraction": (lambda: render(size=2.5), r"size is \(2.5,\); expected whole"),
    "render negative": (lambda: render(size=(3, -1)), r"is \(3, -1\); expected whole"),
    "render zero": (lambda: render(size=0), "numbers, all at least 1"),
    "render nothing": (lambda: render(size=()), r"size is \(\); expected \(height"),
    "render odd leaf": (lambda: render(params=odd), HIDDEN),
    "expand dict": (lambda: expand(size={"a": 3}), "expand reads one input; of a dict"),
    "expand of a dict's fn": (lambda: expand(pair), "take one array x, float32"),
    "expand tokens": (lambda: expand(embed), LOOKUP),
    "expand negative": (lambda: expand(size=-3), r"size is \(-3,\); expected whole"),
    "expand odd leaf": (lambda: expand(params=odd), HIDDEN),
    "gradients dict": (lambda: slope(BOTH), A),
    "gradients of a dict's fn": (lambda: slope(fn=pair), "does not take one array x"),
    "gradients tokens": (lambda: slope(tokens[None], embed), "numbers, got int64"),
    "gradients one number": (lambda: slope(1.0), "axis of examples, got float32"),
    "gradients odd leaf": (lambda: slope(params=odd), HIDDEN),
    "trace dict": (
        lambda: flowgraph.trace(lambda x: x["a"], BOTH),
        CLOSE + r"lambda a: fn\({\*\*x, 'a': a}\)",
    ),
    "trace tuple": (lambda: flowgraph.trace(sum, (X, X)), "one array, got a tuple"),
    "trace of a dict's fn": (
        lambda: flowgraph.trace(lambda x: x["a"], X), "fn cannot be traced.*one array"
    ),
    "trace of two inputs": (lambda: flowgraph.trace(lambda x, y: x, X), "trac.*'y'"),
    "trace tokens": (
        lambda: flowgraph.trace(lambda x: x, tokens), f"dtype int64.*{LOOKUP}"
    ),
    "evaluate dict": (lambda: GRAPH.evaluate(BOTH), CLOSE),
    "evaluate number": (lambda: GRAPH(1.0), r"shape \(\*batch, 3\), got \(\)"),
    "relevance tuple": (lambda: GRAPH.relevance((X, X), 0), "one array, got a tuple"),
    "relevance NaN": (lambda: GRAPH.relevance(X * np.nan, 0), "is not finite"),
    "check dict": (lambda: GRAPH.check(lambda x: x["a"], BOTH), CLOSE),
    "svg dict": (lambda: GRAPH.to_svg(BOTH), CLOSE),
    "flags dict": (lambda: GRAPH.flags(BOTH), CLOSE),
    "observed tuple": (lambda: GRAPH.bounds("observed", x=(X,)), "got a tuple of 1"),
    "observed NaN": (
        lambda: GRAPH.bounds("observed", x=X[None] * np.nan), "values that are NaN"
    ),
    "hypercube tree": (lambda: hypercube.walsh(BOTH), "must be one array, got a dict"),
    "hypercube nodes": (
        lambda: hypercube.evaluate(lambda m: m[0], 2.5), "n is 2.5; all 2.n subsets"
    ),
    "removal tree": (lambda: removal.moments(BOTH), "must be numbers, got a dict"),
    "heat map mask": (
        lambda: removal.heat_maps(lambda mask, point: 0.0, BOTH), "mask must be one arr"
    ),
}  # fmt: skip


@pytest.fixture
def as_users_have_it(monkeypatch):
    """Without the checks of annotations that only tests have."""
    for module in (features, hypercube, prune, removal, weights):
        for name, value in list(vars(module).items()):
            if inspect.isfunction(value):
                monkeypatch.setattr(module, name, inspect.unwrap(value))
    monkeypatch.setattr(flowgraph, "trace", inspect.unwrap(flowgraph.trace))
    for name, value in inspect.getmembers(flowgraph.Graph, inspect.isfunction):
        if name[0] != "_":
            monkeypatch.setattr(flowgraph.Graph, name, inspect.unwrap(value))


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_said_in_one_line(case, as_users_have_it):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "Type-check" not in str(caught.value)


def test_only_the_shape_of_an_example_matters_to_a_graph():
    for x in (X * np.nan, X + np.inf, jax.ShapeDtypeStruct((3,), np.float32)):
        assert flowgraph.trace(lambda x: net(P, x), x).to_json() == GRAPH.to_json()
