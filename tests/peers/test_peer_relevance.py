"""zennit and captum as oracles of relevance, and tests of where they are wrong.

Multilayer perceptron and convnet with the same weights in PyTorch and JAX, biases
everywhere and inputs of both signs.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import relevance
from sparsejax.relevance import Rules

torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
# zennit imports torchvision for its models; the wheel's operators may not be there
for _name in ("nms", "qnms"):
    try:
        _signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(f"torchvision::{_name}", _signature)
    except RuntimeError:
        pass
attribution = pytest.importorskip("zennit.attribution")
composites = pytest.importorskip("zennit.composites")
canonizers = pytest.importorskip("zennit.canonizers")
theirs = pytest.importorskip("zennit.rules")
types = pytest.importorskip("zennit.types")
captum = pytest.importorskip("captum.attr")
lrp = pytest.importorskip("captum.attr._utils.lrp_rules")

pytestmark = pytest.mark.filterwarnings("ignore")  # peers warn of their own hooks
LOW, HIGH = -1.0, 2.0
SHAPES = {"mlp": (12,), "convnet": (8, 8, 2), "normed": (8, 8, 2)}
KERNELS = {
    "mlp": [(12, 16), (16, 4)],
    "convnet": [(3, 3, 2, 5), (3, 3, 5, 6), (24, 4)],
}
KERNELS["normed"] = KERNELS["convnet"]
FLOATS = {"float32": 1e-4, "float64": 1e-6}
floats = pytest.mark.parametrize("dtype", FLOATS)
# arrays are small: what takes time is compiling
quick = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
nets = pytest.mark.parametrize("net", ["mlp", "convnet"])


@functools.cache
def weights(net, dtype):
    rng = np.random.default_rng(0)
    params = {}
    for i, shape in enumerate(KERNELS[net]):
        scale = np.sqrt(2 / np.prod(shape[:-1]))
        kernel, bias = rng.normal(size=shape) * scale, rng.normal(size=shape[-1]) * 0.2
        params[f"layer_{i}"] = {"kernel": kernel, "bias": bias}
        if net == "normed" and len(shape) == 4:
            signs = np.where(np.arange(shape[-1]) % 2, -1, 1)  # scales of both signs
            params[f"norm_{i}"] = {
                "mean": rng.normal(size=shape[-1]) * 0.3,
                "variance": rng.uniform(0.5, 2, shape[-1]),
                "scale": signs * rng.uniform(0.5, 1.5, shape[-1]),
                "offset": rng.normal(size=shape[-1]) * 0.3,
            }
    return jax.tree.map(lambda w: w.astype(dtype), params)


def examples(net, dtype, count=16):
    rng = np.random.default_rng(1)
    x = rng.uniform(LOW, HIGH, (count, *SHAPES[net])).astype(dtype)
    return x, rng.integers(0, 4, count)


def network(params, x):
    """Either network, for one example, in JAX."""
    count = sum(name.startswith("layer") for name in params)
    for i in range(count):
        kernel, bias = params[f"layer_{i}"]["kernel"], params[f"layer_{i}"]["bias"]
        if kernel.ndim == 4:
            places = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(
                x[None], kernel, (1, 1), "SAME", dimension_numbers=places
            )[0]
            x = x + bias
        else:
            x = x.reshape(-1) @ kernel + bias
        if f"norm_{i}" in params:
            norm = params[f"norm_{i}"]
            x = (x - norm["mean"]) / jnp.sqrt(norm["variance"]) * norm["scale"]
            x = x + norm["offset"]
        if i < count - 1:
            x = jax.nn.relu(x)
        if kernel.ndim == 4:
            window = (2, 2, 1)
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
    return x


class Clone(torch.nn.Module):
    """Keeps captum's hooks of two modules apart."""

    def forward(self, x):
        return x.clone()


class Net(torch.nn.Module):
    """Flattens by itself: captum's LRP refuses the module for it."""

    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def as_torch(net, dtype, apart=False):
    """The same network as modules; `apart` keeps ReLUs and pools from touching."""

    def tensor(x):
        return torch.nn.Parameter(torch.from_numpy(np.array(x)))

    params, body = weights(net, dtype), []
    for i, shape in enumerate(KERNELS[net]):
        kernel = params[f"layer_{i}"]["kernel"]
        if len(shape) == 4:
            layer = torch.nn.Conv2d(shape[2], shape[3], 3, padding=1)
            layer.weight = tensor(kernel.transpose(3, 2, 0, 1))
        else:
            layer = torch.nn.Linear(*shape)
            if net != "mlp":  # channels come first there
                kernel = kernel.reshape(2, 2, -1, shape[1]).transpose(2, 0, 1, 3)
            layer.weight = tensor(kernel.reshape(-1, shape[1]).T)
        layer.bias = tensor(params[f"layer_{i}"]["bias"])
        body.append(layer)
        if f"norm_{i}" in params:
            # after zennit has merged it, its eps still scales
            norm = torch.nn.BatchNorm2d(shape[3], eps=0).to(layer.weight)
            kept = {name: tensor(w) for name, w in params[f"norm_{i}"].items()}
            norm.weight, norm.bias = kept["scale"], kept["offset"]
            norm.running_mean.data = kept["mean"].data
            norm.running_var.data = kept["variance"].data
            body.append(norm)
        body.append(torch.nn.ReLU())
        if len(shape) == 4:
            body += [Clone()] * apart + [torch.nn.MaxPool2d(2)]
    *body, head, _ = body
    return Net(torch.nn.Sequential(*body), head).eval()


def to_torch(x):
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy() if x.ndim == 4 else x.copy())


def from_torch(x):
    x = x.detach().numpy()
    return np.moveaxis(x, 1, -1) if x.ndim == 4 else x


def by_zennit(net, x, targets, rule, first=None, merge=()):
    """Relevance by zennit, of the output's own size; `first` is the first layer's."""
    model, onehot = as_torch(net, x.dtype.name), torch.eye(4)[torch.from_numpy(targets)]
    firsts = [] if first is None else [(types.Linear, first)]
    composite = composites.SpecialFirstLayerMapComposite(
        [(types.Linear, rule)], firsts, canonizers=list(merge)
    )
    with attribution.Gradient(model, composite) as attribute:
        return from_torch(attribute(to_torch(x), lambda out: onehot.to(out) * out)[1])


def ours(net, x, targets, rules=None, baseline: Any = "zero"):
    """`explain` for every example; an array of baselines has one for each."""
    params = weights(net, x.dtype.name)
    paired = isinstance(baseline, np.ndarray)

    def one(x, target, start):
        start = start if paired else baseline
        return relevance.explain(
            network, params, x, target=target, baseline=start, rules=rules
        )

    with jax.enable_x64(x.dtype == np.float64):
        run = quick(jax.vmap(one, (0, 0, 0 if paired else None)))
        return jax.tree.map(np.asarray, run(x, targets, baseline if paired else 0))


def assert_close(found, expected, dtype, quantile=1.0):
    scale = np.abs(expected).max()
    gap = np.quantile(np.abs(found - expected), quantile) / scale
    assert gap < FLOATS[dtype], f"off by {gap:.1e} of the scale"


LAYER_RULES = {
    "epsilon": (relevance.epsilon(0.25), theirs.Epsilon(0.25)),
    "z_plus": (relevance.z_plus(), theirs.ZPlus()),
    "gamma": (relevance.gamma(0.25), theirs.Gamma(0.25)),
    "alpha_beta": (relevance.alpha_beta(2.0, 1.0), theirs.AlphaBeta(2.0, 1.0)),
}
FIRST_RULES = {
    "w_square": (relevance.w_square(), theirs.WSquare()),
    "flat": (relevance.flat(), theirs.Flat()),
    "z_box": (relevance.z_box(LOW, HIGH), theirs.ZBox(LOW, HIGH)),
}


@floats
@nets
@pytest.mark.parametrize("rule", ["z_plus", "gamma", "alpha_beta"])
def test_layer_rules_are_zennits(net, dtype, rule):
    x, targets = examples(net, dtype)
    our_rule, their_rule = LAYER_RULES[rule]
    expected = by_zennit(net, x, targets, their_rule)
    assert_close(ours(net, x, targets, Rules(layer=our_rule)).input, expected, dtype)


@floats
@nets
@pytest.mark.parametrize("eps", [1e-6, 0.25])
def test_epsilon_is_zennits_and_captums(net, dtype, eps):
    # in float32 units that are near zero fall on either side of a small one
    flips = dtype == "float32" and eps < 0.1
    x, targets = examples(net, dtype, 256 if flips else 16)
    model = as_torch(net, dtype)
    for layer in (m for m in model.modules() if hasattr(m, "weight")):
        layer.rule = lrp.EpsilonRule(eps)
    by_captum = captum.LRP(model).attribute(to_torch(x), torch.from_numpy(targets))
    found = ours(net, x, targets, Rules(layer=relevance.epsilon(eps))).input
    for expected in (
        by_zennit(net, x, targets, theirs.Epsilon(eps)),
        from_torch(by_captum),
    ):
        assert_close(found, expected, dtype, 0.999 if flips else 1.0)


@floats
@nets
@pytest.mark.parametrize("rule", FIRST_RULES)
def test_rules_of_first_layers_are_zennits(net, dtype, rule):
    x, targets = examples(net, dtype)
    our_rule, their_rule = FIRST_RULES[rule]
    expected = by_zennit(net, x, targets, theirs.Epsilon(0.25), their_rule)
    rules = Rules(layer=relevance.epsilon(0.25), first=our_rule)
    assert_close(ours(net, x, targets, rules).input, expected, dtype)


@floats
@nets
@pytest.mark.parametrize("rule", ["gradient", "guided", "repeat"])
def test_gradients_are_zennits(net, dtype, rule):
    x, targets = examples(net, dtype)
    model, onehot = as_torch(net, dtype), torch.eye(4)[torch.from_numpy(targets)]
    composite = {
        "gradient": None,
        "guided": composites.GuidedBackprop(),
        "repeat": composites.DeconvNet(),
    }[rule]
    attribute = attribution.Gradient(model, composite)
    _, expected = attribute(to_torch(x), onehot.to(to_torch(x)))
    found = ours(net, x, targets, Rules(nonlinear=rule), baseline=None).multiplier
    assert_close(found, from_torch(expected), dtype)


@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "gamma"])
def test_batch_norm_is_zennits_merged(rule):
    x, targets = examples("normed", "float64")
    our_rule, their_rule = LAYER_RULES[rule]
    merge = canonizers.SequentialMergeBatchNorm()
    expected = by_zennit("normed", x, targets, their_rule, merge=[merge])
    found = ours("normed", x, targets, Rules(layer=our_rule))
    assert_close(found.input, expected, "float64")


@nets
def test_biases_have_their_derivatives_shares(net):
    x, targets = examples(net, "float64", 4)
    model, found = as_torch(net, "float64"), ours(net, x, targets).bias
    layers = [m for m in model.modules() if hasattr(m, "bias")]
    for i, (one, target) in enumerate(zip(to_torch(x), targets, strict=True)):
        model.zero_grad()
        model(one[None])[0, target].backward()
        for j, layer in enumerate(layers):
            expected = from_torch(layer.bias * layer.bias.grad)
            assert_close(found[f"layer_{j}/bias"][i], expected, "float64")


@floats
@nets
def test_deep_lift_is_captums(net, dtype):
    x, targets = examples(net, dtype)
    zeros, halves, others = np.zeros_like(x), np.full_like(x, 0.5), np.roll(x, 1, 0)
    reference = np.concatenate([zeros, halves, others])
    x, targets = np.concatenate([x] * 3), np.tile(targets, 3)
    model = as_torch(net, dtype, apart=True)
    arguments = to_torch(x), to_torch(reference), torch.from_numpy(targets)
    expected = from_torch(captum.DeepLift(model).attribute(*arguments))
    assert_close(ours(net, x, targets, baseline=reference).input, expected, dtype)


def test_captums_deep_lift_loses_what_pools_compare_after_a_relu():
    x, targets = examples("convnet", "float64")
    reference = np.roll(x, 1, 0)
    inputs, labels = (to_torch(x), to_torch(reference)), torch.from_numpy(targets)
    deltas = {}
    for apart in (False, True):
        explainer = captum.DeepLift(as_torch("convnet", "float64", apart))
        _, delta = explainer.attribute(*inputs, labels, return_convergence_delta=True)
        deltas[apart] = delta.abs().max()
    assert deltas[False] > 0.1 and deltas[True] < 1e-12
    found = ours("convnet", x, targets, baseline=reference)
    rest = found.input.sum((1, 2, 3)) - found.output
    assert np.abs(rest).max() < 1e-12


def by_deep_lift(model, x, reference, target):
    """captum's multipliers."""

    def keep(multipliers, inputs, baselines):
        return multipliers

    attribute = captum.DeepLift(model).attribute
    return attribute(x, reference, target, custom_attribution_func=keep).detach()


def our_multipliers(fn, x, reference, target):
    def explain(x, x0):
        return relevance.explain(fn, (), x, target=target, baseline=x0)

    with jax.enable_x64(True):
        found = quick(jax.vmap(explain))(x.numpy(), reference.numpy())
        rest = jax.vmap(relevance.Relevance.residual)(found)
        return np.asarray(found.multiplier), np.asarray(rest)


def test_captums_pool_takes_the_first_examples_gradient_where_inputs_agree():
    rng = np.random.default_rng(2)
    x, head = torch.from_numpy(rng.normal(size=(4, 1, 8))), rng.normal(size=(4, 2))
    reference = torch.from_numpy(rng.normal(size=(4, 1, 8)))
    reference[:, :, ::3] = x[:, :, ::3]
    pool, dense = torch.nn.MaxPool1d(2), bare_linear(head)
    model = torch.nn.Sequential(pool, torch.nn.Flatten(), dense)
    batch = by_deep_lift(model, x, reference, 1)
    alone = [by_deep_lift(model, x[i : i + 1], reference[i : i + 1], 1) for i in (1, 3)]
    assert (batch[1::2] - torch.cat(alone)).abs().max() > 0.1

    # elsewhere they are right, and so is what multipliers give to the input
    def fn(params, x):
        return x.reshape(4, 2).max(1) @ head

    multipliers, rest = our_multipliers(fn, x, reference, 1)
    gap = (multipliers - batch.numpy()) * (x != reference).numpy()
    assert np.abs(gap).max() < 1e-12 and np.abs(rest).max() < 1e-12


def test_captums_softmax_depends_on_the_rest_of_the_batch():
    rng = np.random.default_rng(3)
    x, reference = torch.from_numpy(rng.normal(size=(2, 4, 3)))
    kernel = rng.normal(size=(3, 3))
    model = torch.nn.Sequential(bare_linear(kernel), torch.nn.Softmax(1))
    batch = by_deep_lift(model, x, reference, 0)
    alone = by_deep_lift(model, x[:1], reference[:1], 0)
    assert (batch[:1] - alone).abs().max() > 0.01

    def fn(params, x):
        return jax.nn.softmax(x @ kernel)

    multipliers, rest = our_multipliers(fn, x, reference, 0)
    single, _ = our_multipliers(fn, x[:1], reference[:1], 0)
    np.testing.assert_allclose(multipliers[:1], single, atol=1e-14)
    assert np.abs(rest).max() < 1e-12


class Residual(torch.nn.Module):
    """h + relu(W h), then a readout: no bias anywhere."""

    def __init__(self, inner, head):
        super().__init__()
        self.relu = torch.nn.ReLU()
        self.inner, self.head = bare_linear(inner), bare_linear(head)

    def forward(self, x):
        return self.head(x + self.relu(self.inner(x)))


def bare_linear(kernel):
    """A module without bias."""
    layer = torch.nn.Linear(*kernel.shape, bias=False).double()
    layer.weight.data = torch.from_numpy(kernel.T.copy())
    return layer


def test_zennit_doubles_the_relevance_of_a_plain_residual_and_captum_inflates_it():
    rng = np.random.default_rng(4)
    inner, head, x = (rng.normal(size=s) for s in ((6, 6), (6, 1), (3, 6)))
    model = Residual(inner, head)
    rules = (types.Linear, theirs.Epsilon(1e-9)), (types.Activation, theirs.Pass())
    composite = composites.LayerMapComposite(list(rules))
    with attribution.Gradient(model, composite) as attribute:
        output, found = attribute(torch.from_numpy(x), lambda out: out)
    share = (found.sum(1) / output[:, 0]).detach().numpy()
    np.testing.assert_allclose(share, 2, atol=1e-6)
    share = captum.LRP(model).attribute(torch.from_numpy(x)).sum(1) / output[:, 0]
    assert (share - 1).abs().min() > 0.3

    def fn(params, x):
        return ((x + jax.nn.relu(x @ params["inner"])) @ params["head"])[0]

    params = {"inner": inner, "head": head}
    with jax.enable_x64(True):
        for one in x:
            r = relevance.explain(fn, params, one, baseline="zero")
            np.testing.assert_allclose(r.input.sum() / r.output, 1, atol=1e-12)


def test_captums_trapezoid_explains_49_of_50_parts_of_a_linear_function():
    if not hasattr(relevance, "integrated_gradients"):
        pytest.skip("needs integrated gradients")
    rng = np.random.default_rng(5)
    kernel, x = rng.normal(size=(6, 1)), rng.normal(size=6)
    model, given = bare_linear(kernel), torch.from_numpy(x[None])
    explainer = captum.IntegratedGradients(model)
    found = explainer.attribute(given, n_steps=50, method="riemann_trapezoid")
    share = (found.sum() / model(given)).item()
    assert share == pytest.approx(0.98, abs=1e-6)

    def fn(kernel, x):
        return (x @ kernel)[0]

    with jax.enable_x64(True):
        r = relevance.integrated_gradients(fn, kernel, jnp.asarray(x), steps=50)
        assert float(r.input.sum() / r.output) == pytest.approx(1, abs=1e-12)
