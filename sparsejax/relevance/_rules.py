"""The choices of relevance propagation.

A layer, a matrix product or convolution with what is added and scaled after it, is
z_j = sum_i a_i w_ij + c_j. A layer rule says what parts z_j is made of, so that its
relevance R_j is split among the inputs (and the biases in c_j) by their share:

    R_i = sum_j  p(a_i) g(w_ij) / blip(s_j)  R_j,   s_j = sum_i p(a_i) g(w_ij) + h(c_j),

with blip(s) = s + epsilon sgn(s), sgn(0) = 1. A `Group` is one such sum, its `Part`s
are choices of p, g and h; every rule of the literature is a list of groups.

Papers: Bach et al., "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by
Layer-Wise Relevance Propagation", 2015; Montavon et al., "Explaining nonlinear
classification decisions with deep Taylor decomposition", 2017 (arXiv 1512.02479);
Montavon et al., "Layer-Wise Relevance Propagation: An Overview", 2019; Andeol et al.,
"Learning Domain Invariant Representations by Joint Wasserstein Distance Minimization",
2021 (gamma for inputs of both signs).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp


class Kernel(NamedTuple):
    """g(w): `positive` times the weight where it is positive, and so on.

    Of degree 2 it is the square of that; of degree 0 one for every weight, zeros too.
    """

    positive: float = 1.0
    negative: float = 1.0
    degree: int = 1


class Part(NamedTuple):
    """One term of a sum.

    Attributes:
        inputs: p(a): "all", "positive" or "negative" inputs; or a function of the
            inputs whose values do not follow theirs, such as ones.
        kernel: g(w).
        constant: what to multiply the constant c by: h(c) = constant(c) c.
    """

    inputs: str | Callable
    kernel: Kernel
    constant: Callable = jnp.zeros_like


class Group(NamedTuple):
    """A sum, and how much of the relevance of z is split by it.

    Attributes:
        weight: `weight(z)`, the share of z's relevance that this sum splits.
        parts: what the sum is made of.
        sign: what is known where z is positive, as it is where a ReLU lets anything
            through: 1, the sum is not negative; -1, the weight is 0; 0, nothing.
    """

    weight: Callable
    parts: tuple[Part, ...]
    sign: int = 0


class LayerRule(NamedTuple):
    """Groups whose weights add up to 1, and the epsilon of the blip."""

    groups: tuple[Group, ...]
    epsilon: float = 1e-6

    @property
    def is_whole(self) -> bool:
        """Whether z itself is split: the epsilon rule, without any division."""
        return self.groups == _WHOLE


_ONE = jnp.ones_like
_ALL = Part("all", Kernel(), _ONE)
_WHOLE = (Group(_ONE, (_ALL,)),)


def epsilon(eps: float = 1e-6) -> LayerRule:
    """Shares of the sum itself; `eps` of the relevance of small sums is absorbed.

    `eps=0` is LRP-0, the default of every layer.

    Example:
        >>> from sparsejax.relevance import explain
        >>> fn, x = lambda w, x: x @ w, jnp.ones(2)
        >>> kernel, rules = jnp.array([[3.0], [-1.0]]), Rules(layer=epsilon(2.0))
        >>> r = explain(fn, kernel, x, target=0, baseline="zero", rules=rules)
        >>> r.input.tolist()  # as if the sum 2 were 4
        [1.5, -0.5]
    """
    _check_epsilon(eps)
    return LayerRule(_WHOLE, eps)


def gamma(gamma: float = 0.25, eps: float = 1e-6) -> LayerRule:
    """What speaks for the sum's sign counts `1 + gamma` times.

    Example:
        >>> from sparsejax.relevance import explain
        >>> fn, x = lambda w, x: x @ w, jnp.ones(3)
        >>> kernel, rules = jnp.array([[1.0], [3.0], [-2.0]]), Rules(layer=gamma(1.0))
        >>> r = explain(fn, kernel, x, target=0, baseline="zero", rules=rules)
        >>> [round(share, 3) for share in r.input.tolist()]  # in proportion 2, 6, -2
        [0.667, 2.0, -0.667]
    """
    if not gamma >= 0:
        raise ValueError(f"gamma must be 0 or more, got {gamma}")
    more = 1.0 + gamma
    for_positive, for_negative = Kernel(more, 1.0), Kernel(1.0, more)

    def favored(sign):
        return lambda c: 1 + gamma * _is(sign * c)

    def group(sign, same, other):
        parts = Part("positive", same, favored(sign)), Part("negative", other)
        return Group(lambda z: _is(sign * z), parts, sign)

    groups = group(1, for_positive, for_negative), group(-1, for_negative, for_positive)
    _check_epsilon(eps)
    return LayerRule(groups, eps)


def alpha_beta(alpha: float = 2.0, beta: float = 1.0, eps: float = 1e-6) -> LayerRule:
    """`alpha` times the shares of positive terms, less `beta` times the negative.

    Example:
        >>> from sparsejax.relevance import explain
        >>> fn, x = lambda w, x: x @ w, jnp.ones(3)
        >>> kernel, rules = jnp.array([[1.0], [3.0], [-1.0]]), Rules(layer=alpha_beta())
        >>> r = explain(fn, kernel, x, target=0, baseline="zero", rules=rules)
        >>> [round(share, 3) for share in r.input.tolist()]  # 6 and -3 of 3
        [1.5, 4.5, -3.0]
    """
    if alpha < 0 or beta < 0 or abs(alpha - beta - 1) > 1e-6:
        raise ValueError(
            f"alpha and beta must be positive and alpha - beta = 1, got {alpha}, {beta}"
        )
    only_positive, only_negative = Kernel(1.0, 0.0), Kernel(0.0, 1.0)

    def group(weight, sign, same, other):
        def gate(c):
            return _is(sign * c)

        parts = Part("positive", same, gate), Part("negative", other)
        return Group(lambda z: jnp.full_like(z, weight), parts, max(sign, 0))

    groups = (group(alpha, 1, only_positive, only_negative),)
    if beta:
        groups += (group(-beta, -1, only_negative, only_positive),)
    _check_epsilon(eps)
    return LayerRule(groups, eps)


def z_plus(eps: float = 1e-6) -> LayerRule:
    """Shares of positive terms alone: `alpha_beta(1, 0)`.

    Example:
        >>> from sparsejax.relevance import explain
        >>> fn, x = lambda w, x: x @ w, jnp.ones(3)
        >>> kernel, rules = jnp.array([[1.0], [3.0], [-2.0]]), Rules(layer=z_plus())
        >>> r = explain(fn, kernel, x, target=0, baseline="zero", rules=rules)
        >>> [round(share, 3) for share in r.input.tolist()]
        [0.5, 1.5, 0.0]
    """
    return alpha_beta(1.0, 0.0, eps)


def w_square(eps: float = 1e-6) -> LayerRule:
    """Shares of the squared weights, whatever the inputs are (for first layers).

    Example:
        >>> from sparsejax.relevance import explain
        >>> fn, x = lambda w, x: x @ w, jnp.array([5.0, 0.0])
        >>> kernel, rules = jnp.array([[1.0], [2.0]]), Rules(first=w_square())
        >>> r = explain(fn, kernel, x, target=0, baseline="zero", rules=rules)
        >>> [round(share, 3) for share in r.input.tolist()]
        [1.0, 4.0]
    """
    _check_epsilon(eps)
    part = Part(jnp.ones_like, Kernel(degree=2), lambda c: c)
    return LayerRule((Group(_ONE, (part,)),), eps)


def flat(eps: float = 1e-6) -> LayerRule:
    """The same share for every input (for first layers).

    Example:
        >>> from sparsejax.relevance import explain
        >>> fn, x = lambda w, x: x @ w, jnp.array([6.0, 0.0])
        >>> kernel, rules = jnp.array([[1.0], [2.0]]), Rules(first=flat())
        >>> r = explain(fn, kernel, x, target=0, baseline="zero", rules=rules)
        >>> [round(share, 3) for share in r.input.tolist()]
        [3.0, 3.0]
    """
    _check_epsilon(eps)
    part = Part(jnp.ones_like, Kernel(degree=0))
    return LayerRule((Group(_ONE, (part,)),), eps)


def z_box(low, high, eps: float = 1e-6) -> LayerRule:
    """For inputs between `low` and `high` (numbers or arrays): a first layer's.

    Terms are a w - low max(w, 0) - high min(w, 0), all positive.

    Example:
        >>> from sparsejax.relevance import explain
        >>> fn, x = lambda w, x: x @ w, jnp.array([1.0, 0.0])  # a bright, a dark pixel
        >>> kernel, rules = jnp.array([[2.0], [-2.0]]), Rules(first=z_box(0.0, 1.0))
        >>> r = explain(fn, kernel, x, target=0, baseline="zero", rules=rules)
        >>> [round(share, 3) for share in r.input.tolist()]  # to be dark counts too
        [1.0, 1.0]
    """
    _check_epsilon(eps)

    def level(bound):
        return lambda a: -jnp.broadcast_to(jnp.asarray(bound, a.dtype), a.shape)

    parts = (
        Part("all", Kernel()),
        Part(level(low), Kernel(1.0, 0.0)),
        Part(level(high), Kernel(0.0, 1.0)),
    )
    return LayerRule((Group(_ONE, parts),), eps)


@dataclasses.dataclass(frozen=True)
class Rules:
    """How relevance passes each kind of step. All that is not given is exact.

    Attributes:
        layer: the rule of weight layers; None is LRP-0, which splits nothing off.
        first, last: those of the first and the last layer.
        kinds: by kind, "dense" or "conv".
        names: by layer: an index (from the end if negative); or a pattern (as of
            `fnmatch`) for the module, "dense_0" or "*/Conv_*", or for the path of its
            kernel. Names win over first and last, these over kinds.
        nonlinear: what passes a function b = f(a) of each element. "gradient": f'(a);
            "slope": (f(a) - f(0)) / a, f(0) being a constant's, or against a baseline
            (f(a) - f(a0)) / (a - a0); "ignore": everything; "repeat": f of what
            arrives, the deconvnet; "guided": at ReLUs both gradient and repeat, at
            others gradient. By default "gradient" without a baseline, else "slope"
            ("ignore" with `matrix="normalized"`).
        matrix: what these rules act on: "gradient", multipliers Q = R / a, which a
            matrix product passes on as W Q; or "normalized", relevances R, which it
            splits by shares. Consistent: gradient, slope, repeat with the first;
            ignore with the second, but for zeros, which have no shares (a softmax's
            largest entry less itself). Others run, and their residual tells.
        maximum: "winner": all to the (first) largest; "radial": shares of the positive
            values, of 1 / |a| if there are none; "cross": as the limit of the
            soft maximum; "path": how long each is the largest on the straight way
            from the baseline. By default "winner", or "cross" against a baseline, where
            the first two do not conserve.
        product: of two values of the input. "gradient": both derivatives; "uniform":
            half the relevance each (against a baseline: exact midpoints);
            "detach": a factor that weighs (softmax, one over a norm) is a constant.
            By default "gradient" without a baseline, else "uniform".
        primitives: rules of further primitives: `rule(step, inputs, outputs, q)`, whose
            arguments are the step (`run`, `params`, `place`), its operands and results
            as arrays, and the multipliers of the results; returns one multiplier, or
            None, for each operand. Parameters that such a step reads get nothing: the
            residual shows it.
    """

    layer: Any = None
    first: Any = None
    last: Any = None
    kinds: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    names: Mapping[str | int, Any] = dataclasses.field(default_factory=dict)
    nonlinear: str | None = None
    matrix: str = "gradient"
    maximum: str | None = None
    product: str | None = None
    primitives: Mapping[str, Callable] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for field, options in _OPTIONS.items():
            chosen = getattr(self, field)
            if chosen not in options:
                names = ", ".join(repr(option) for option in options if option)
                raise ValueError(f"{field} is {chosen!r}; it can be {names}")
        unknown = set(self.kinds) - {"dense", "conv"}
        if unknown:
            raise ValueError(
                f"kinds has {sorted(unknown)}; kinds of layers are 'dense' and 'conv'"
            )
        for place in ("layer", "first", "last"):
            object.__setattr__(self, place, _settled(place, getattr(self, place)))
        for field in ("kinds", "names"):
            given = getattr(self, field).items()
            settled = {place: _settled(place, rule) for place, rule in given}
            object.__setattr__(self, field, settled)


def _settled(place: str | int, rule: Any) -> LayerRule | None:
    """The rule of a place, checked, with groups and parts that can be read twice."""
    if rule is None:
        return None
    if not isinstance(rule, LayerRule):
        raise ValueError(
            f"the rule of {place!r} is {rule!r}; make one with epsilon(), gamma(), "
            "z_plus(), ... of relevance"
        )
    groups = tuple(
        Group(weight, tuple(parts), *sign) for weight, parts, *sign in rule.groups
    )
    for inputs, kernel, _ in (part for group in groups for part in group.parts):
        if not callable(inputs) and inputs not in ("all", "positive", "negative"):
            raise ValueError(
                f"a part of the rule of {place!r} has inputs {inputs!r}; they can be "
                "'all', 'positive', 'negative', or a function of the inputs"
            )
        if kernel.degree not in (0, 1, 2):
            raise ValueError(
                f"a part of the rule of {place!r} has a kernel of degree "
                f"{kernel.degree}; it can be 0, 1 or 2"
            )
    return LayerRule(groups, rule.epsilon)


_OPTIONS: dict[str, tuple[Any, ...]] = {
    "nonlinear": (None, "gradient", "slope", "ignore", "repeat", "guided"),
    "matrix": ("gradient", "normalized"),
    "maximum": (None, "winner", "radial", "cross", "path"),
    "product": (None, "gradient", "uniform", "detach"),
}


class Mode(NamedTuple):
    """Rules with defaults filled in for a baseline."""

    nonlinear: str
    matrix: str
    maximum: str
    product: str
    compared: bool


def settle(rules: Rules, baseline: Any) -> Mode:
    """Defaults: the gradient without a baseline, else the rules that conserve."""
    plain = baseline is None
    compared = not plain and not isinstance(baseline, str)
    exact = "ignore" if rules.matrix == "normalized" else "slope"
    return Mode(
        rules.nonlinear
        or ("gradient" if plain and rules.matrix == "gradient" else exact),
        rules.matrix,
        rules.maximum or ("cross" if compared else "winner"),
        rules.product or ("gradient" if plain else "uniform"),
        compared,
    )


def _is(x):
    """One where positive, else zero."""
    return (x > 0).astype(x.dtype)


def _check_epsilon(eps) -> None:
    if not eps >= 0:
        raise ValueError(f"eps must be 0 or more, got {eps}")
