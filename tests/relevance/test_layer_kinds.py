"""Every layer rule in every kind of layer, against loops over single products.

A layer is a list of products, input i times weight k into output j, and a rule is
written out term by term in NumPy, in float64.
"""

import functools as ft
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sparsejax import relevance
from sparsejax.relevance import Group, Kernel, LayerRule, Part, Rules
from sparsejax.relevance._products import WEIGHTED

pytestmark = pytest.mark.usefixtures("float64")

EPS, LOW, HIGH = 0.1, -1.5, 2.0
plus, minus = lambda v: np.maximum(v, 0), lambda v: np.minimum(v, 0)


# Rules: [(share of R, terms of the products, terms of the constants)], of inputs a and
# weights w of every product, constants c and sums z of every output.


def by_epsilon(a, w, c, z):
    return [(1, a * w, c)]


def by_z_plus(a, w, c, z):
    return [(1, plus(a * w), plus(c))]


def by_alpha_beta(a, w, c, z):
    return [(2, plus(a * w), plus(c)), (-1, minus(a * w), minus(c))]


def by_gamma(a, w, c, z):
    def more(part):
        return (a * w + 0.3 * part(a * w), c + 0.3 * part(c))

    return [(z > 0, *more(plus)), (z < 0, *more(minus))]


def by_w_square(a, w, c, z):
    return [(1, w**2, c**2)]


def by_flat(a, w, c, z):
    return [(1, np.ones_like(w), 0 * c)]


def by_z_box(a, w, c, z):
    return [(1, a * w - LOW * plus(w) - HIGH * minus(w), 0 * c)]


def by_parts(a, w, c, z):
    """Sums of one part each, of some inputs, and of parts of several degrees."""

    def uneven(w):
        return 1.5 * plus(w) + 0.5 * minus(w)

    return [
        (0.3, minus(a) * w, c),
        (0.2, minus(a) * uneven(w), c),
        (0.2, plus(a) * w, c),
        (0.1, plus(a) * w**2, c),
        (0.1, a * uneven(w), c),
        (0.1, plus(a) * w + minus(a) * w**2, c),
    ]


def parts() -> LayerRule:
    uneven, squared = Kernel(1.5, 0.5), Kernel(degree=2)
    groups = [
        (0.3, ("negative", Kernel())),
        (0.2, ("negative", uneven)),
        (0.2, ("positive", Kernel())),
        (0.1, ("positive", squared)),
        (0.1, ("all", uneven)),
        (0.1, ("positive", Kernel()), ("negative", squared)),
    ]

    def halves(c):
        return jnp.full_like(c, 0.5)

    def group(weight, *chosen):
        constant = jnp.ones_like if len(chosen) == 1 else halves
        made = tuple(Part(inputs, kernel, constant) for inputs, kernel in chosen)
        return Group(lambda z: jnp.full_like(z, weight), made)

    return LayerRule(tuple(group(*one) for one in groups), EPS)


RULES: dict[str, tuple[LayerRule, Callable]] = {
    "epsilon": (relevance.epsilon(EPS), by_epsilon),
    "z_plus": (relevance.z_plus(EPS), by_z_plus),
    "alpha_beta": (relevance.alpha_beta(2.0, 1.0, EPS), by_alpha_beta),
    "gamma": (relevance.gamma(0.3, EPS), by_gamma),
    "w_square": (relevance.w_square(EPS), by_w_square),
    "z_box": (relevance.z_box(LOW, HIGH, EPS), by_z_box),
    "flat": (relevance.flat(EPS), by_flat),
    "parts": (parts(), by_parts),
}


def test_every_rule_of_the_package_is_in_the_table():
    made = {
        name
        for name in relevance.__all__
        if inspect.isfunction(rule := getattr(relevance, name))
        and inspect.signature(rule).return_annotation is LayerRule
    }
    assert made == set(RULES) - {"parts"}
    assert {kind.primitive for kind in KINDS.values()} == set(WEIGHTED)


class Kind(NamedTuple):
    """A layer: how JAX runs it, and (input, weight, output) of every product."""

    run: Callable
    x: tuple[int, ...]
    kernel: tuple[int, ...]
    out: tuple[int, ...]
    products: Any
    primitive: str


def dense(spec: str, **sizes: int) -> Kind:
    """A product of an input and a kernel, as `einsum` writes it."""
    (one, kernel), out = spec.split("->")[0].split(","), spec.split("->")[1]
    letters = [*sizes]

    def shape(axes):
        return tuple(sizes[letter] for letter in axes)

    def flat(index, axes):
        place = [index[letters.index(letter)] for letter in axes]
        return np.ravel_multi_index(place, shape(axes))

    products = [
        (flat(index, one), flat(index, kernel), flat(index, out))
        for index in np.ndindex(*sizes.values())
    ]

    def run(x, k):
        return jnp.einsum(spec, x, k)

    return Kind(run, shape(one), shape(kernel), shape(out), products, "dot_general")


def conv(
    specs,
    x,
    kernel,
    *,
    strides=1,
    padding=(0, 0),
    spread=1,
    gaps=1,
    groups=1,
    batches=1,
) -> Kind:
    """A convolution of one example or, in groups of them, several.

    Args:
        specs: axes of input, kernel and output, such as ("NHWC", "HWIO", "NHWC").
        spread: dilation of the kernel.
        gaps: of the input, as in transposed convolutions.
        groups, batches: of channels and of examples.
    """
    space = [axis for axis in specs[0] if axis not in "NC"]
    sizes = [dict(zip(s, n, strict=True)) for s, n in zip(specs, (x, kernel))]
    (of_x, of_k), (low, high) = sizes, padding
    wide = {a: (of_x[a] - 1) * gaps + 1 + low + high for a in space}
    of_out = {a: (wide[a] - (of_k[a] - 1) * spread - 1) // strides + 1 for a in space}
    of_out |= {"N": of_x["N"] // batches, "C": of_k["O"]}

    def flat(spec, sizes, place):
        shape = [sizes[axis] for axis in spec]
        return np.ravel_multi_index([place[axis] for axis in spec], shape)

    products = []
    for index in np.ndindex(*of_out.values(), *of_k.values()):
        to = dict(zip(of_out, index))
        by = dict(zip(of_k, index[len(of_out) :]))
        ahead = {a: to[a] * strides + by[a] * spread - low for a in space}
        place = {a: n // gaps for a, n in ahead.items()}
        inside = all(0 <= n < of_x[a] for a, n in place.items())
        if by["O"] != to["C"] or not inside or any(n % gaps for n in ahead.values()):
            continue
        place["C"] = by["O"] // (of_k["O"] // groups) * of_k["I"] + by["I"]
        place["N"] = by["O"] // (of_k["O"] // batches) * of_out["N"] + to["N"]
        trio = (specs[0], of_x, place), (specs[1], of_k, by), (specs[2], of_out, to)
        products.append([flat(*one) for one in trio])

    each = len(space)

    def run(x, k):
        return lax.conv_general_dilated(
            x, k, (strides,) * each, [padding] * each, (gaps,) * each, (spread,) * each,
            specs, groups, batches,
        )  # fmt: skip

    out = tuple(of_out[axis] for axis in specs[2])
    return Kind(run, x, kernel, out, products, "conv_general_dilated")


def on_the_right(kind: Kind) -> Kind:
    """The same, where the input is the kernel of a convolution over the weights."""
    products = [(k, i, j) for i, k, j in kind.products]

    def run(x, k):
        return kind.run(k, x)

    return kind._replace(run=run, x=kind.kernel, kernel=kind.x, products=products)


FLAT, PLAIN = ("NWC", "WIO", "NWC"), ("NHWC", "HWIO", "NHWC")
FIRST, DEEP = ("NCHW", "OIHW", "NCHW"), ("NDHWC", "DHWIO", "NDHWC")
KINDS = {
    "dense": dense("i,ij->j", i=5, j=4),
    "kernel first": dense("i,ji->j", i=5, j=4),
    "a batch of kernels": dense("bi,bij->bj", b=3, i=4, j=2),
    "nothing summed": dense("i,j->ij", i=3, j=2),
    "two axes at once": dense("tdi,dio->to", t=2, d=2, i=3, o=3),
    "1-D, strided": conv(FLAT, (1, 7, 2), (3, 2, 3), strides=2, padding=(1, 1)),
    "2-D, channels first": conv(FIRST, (1, 2, 4, 3), (3, 2, 2, 2), padding=(0, 1)),
    "2-D, kernel spread": conv(PLAIN, (1, 5, 4, 1), (2, 2, 1, 3), spread=2),
    "2-D, in groups": conv(PLAIN, (1, 3, 3, 4), (2, 2, 2, 4), groups=2),
    "depthwise": conv(FIRST, (1, 3, 3, 2), (6, 1, 2, 2), groups=3, padding=(1, 0)),
    "depthwise, one place": conv(PLAIN, (1, 1, 1, 4), (1, 1, 1, 4), groups=4),
    "transposed": conv(FLAT, (1, 4, 2), (3, 2, 3), gaps=2, padding=(2, 1)),
    "3-D": conv(DEEP, (1, 3, 2, 3, 1), (2, 2, 2, 1, 2), padding=(0, 1)),
    "examples in groups": conv(FLAT, (2, 4, 2), (2, 2, 4), batches=2),
    "input on the right": on_the_right(conv(FLAT, (1, 6, 2), (3, 2, 2))),
}


class Case(NamedTuple):
    """What goes into a layer z = s W a + c, and what its outputs are worth."""

    x: Any
    kernel: Any
    mean: Any
    scale: Any
    bias: Any
    worth: Any


@ft.cache
def case(kind: str) -> Case:
    rng, layer = np.random.default_rng(0), KINDS[kind]
    shapes = layer.x, layer.kernel, *[layer.out] * 4
    drawn = Case(*(rng.normal(size=shape) for shape in shapes))
    drawn.x.flat[1], drawn.kernel.flat[0] = 0.0, 0.0
    return drawn


def quick(kind: str, rule: str) -> bool:
    """Whether inputs are positive in the quick tests: of half of all pairs."""
    return (list(KINDS).index(kind) + list(RULES).index(rule)) % 2 == 0


@ft.cache
def explained(kind: str, which: Callable, positive: bool):
    """{rule: explanation}, in one program for all rules whose inputs are as asked.

    The layer of inputs of both signs has a normalisation too; some scales are negative.
    """
    layer, given = KINDS[kind], case(kind)
    rules = {k: rule for k, (rule, _) in RULES.items() if which(kind, k) == positive}

    def fn(params, x):
        if positive:
            return layer.run(jax.nn.relu(x), params.kernel)
        scaled = (layer.run(x, params.kernel) - params.mean) * params.scale
        return scaled + params.bias

    # z_box after w_square with inputs of both signs is what XLA of jaxlib 0.10 gets
    # wrong, in one number of "nothing summed", when it optimizes nothing.
    @jax.jit
    def run(params, x):
        return {
            name: relevance.explain(
                fn, params, x, target=params.worth, baseline="zero",
                rules=Rules(layer=rule), edges=True,
            )
            for name, rule in rules.items()
        }  # fmt: skip

    return jax.tree.map(np.asarray, run(Case(*map(jnp.asarray, given)), given.x))


def slow(kind: str, rule: str) -> bool:
    return not quick(kind, rule)


@pytest.mark.parametrize("which", [quick, pytest.param(slow, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_in_every_kind_of_layer(rule, kind, which):
    """In the quick tests every pair of rule, kind and sign, in the slow ones all."""
    given, layer, positive = case(kind), KINDS[kind], which(kind, rule)
    i, k, j = np.array(layer.products).T
    terms, size = RULES[rule][1], given.worth.size

    def total(at, parts, size):
        return np.bincount(at, parts, size)

    a = plus(given.x.ravel()) if positive else given.x.ravel()
    s = np.ones(size) if positive else given.scale.ravel()
    c = np.zeros(size) if positive else (given.bias - given.mean * given.scale)
    a, w, c = a[i], given.kernel.ravel()[k] * s[j], c.ravel()
    z = total(j, a * w, size) + c
    r = given.worth.ravel() * z
    into, edges, bias, absorbed = np.zeros(given.x.size), 0, 0, 0
    for part, products, constants in terms(a, w, c, z):
        sums = total(j, products, size) + constants
        share = part * r / (sums + EPS * np.where(sums >= 0, 1, -1))
        into += total(i, products * share[j], given.x.size)
        edges += total(k, products * share[j], given.kernel.size)
        bias += np.sum(constants * share)
        absorbed += np.sum(part * r - sums * share)
    found = explained(kind, which, positive)[rule]
    close = ft.partial(np.testing.assert_allclose, rtol=0, atol=1e-12)
    close(found.output, r.sum())
    close(found.input.ravel(), into)
    close(sum(map(np.sum, found.bias.values())), bias)
    close(sum(found.absorbed.values()), absorbed)
    (through,) = found.edges.values()
    close(through.ravel(), edges)
    close(found.residual(), 0)


def test_gamma_by_hand():
    """Four channels, each its own layer: z = 1, 1, -2, -1."""
    x, w, b = [1.0, -2.0, 3.0, -0.5], [2.0, 1.0, -1.0, -2.0], [-1.0, 3.0, 1.0, -2.0]
    layer = KINDS["depthwise, one place"]

    def fn(p, x):
        return (layer.run(x, p["w"]) + p["b"]).sum()

    given = (jnp.array(v).reshape(1, 1, 1, 4) for v in (x, w, b))
    x, w, b = given
    rules = Rules(first=relevance.gamma(0.25, 0.0))
    found = relevance.explain(fn, {"w": w, "b": b}, x, baseline="zero", rules=rules)
    # 2.5 of 2.5 - 1; -2 of -2 + 3.75; -3.75 of -3.75 + 1; 1 of 1 - 2.5
    by_hand = [2.5 / 1.5, -2 / 1.75, -2 * 3.75 / 2.75, 1 / 1.5]
    np.testing.assert_allclose(found.input.ravel(), by_hand, rtol=1e-12)


def test_layers_without_a_rule_are_refused_by_name():
    def fn(k, x):
        return lax.ragged_dot(x, k, jnp.array([1, 2])).sum()

    with pytest.raises(ValueError, match="'ragged_dot_general' at .* has no rule"):
        relevance.explain(fn, jnp.ones((2, 4, 3)), jnp.ones((3, 4)))
