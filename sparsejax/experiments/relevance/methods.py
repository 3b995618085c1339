"""Every method by its name, as one kind of function of one image."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax import relevance
from sparsejax.relevance import Attribution, Relevance, Rules

_STEPS, _SAMPLES, _NOISY = 50, 200, 50  # gradients of one image


class Setting(NamedTuple):
    """What methods are given besides an image.

    Attributes:
        fn: `fn(params, x)`, logits.
        image: (height, width, channels) of an input.
        baseline: an input to compare with.
        backgrounds: training images, as `baseline`, for expected gradients.
        domain: lowest and highest value of an input.
        node: the last named activation that has places, if there is one.
        epsilon: of LRP.
        gamma: of LRP.
    """

    fn: Callable[[PyTree, Array], Array]
    image: tuple[int, ...]
    baseline: Float[Array, "..."]
    backgrounds: Float[Array, "n ..."]
    domain: tuple[float, float]
    node: str | None
    epsilon: float
    gamma: float


class Account(NamedTuple):
    """What a map's sum has to do with the output; NaN where a method claims nothing.

    Attributes:
        output: what is explained: f(x), or how far it is from a baseline's.
        input: the sum of the map.
        bias: of all biases.
        constants: of other constants.
        absorbed: kept by the epsilons of layers.
        magnitude: the sum of the absolute values of all parts and of the output.
    """

    output: Float[Array | np.ndarray, "*n"]
    input: Float[Array | np.ndarray, "*n"]
    bias: Float[Array | np.ndarray, "*n"]
    constants: Float[Array | np.ndarray, "*n"]
    absorbed: Float[Array | np.ndarray, "*n"]
    magnitude: Float[Array | np.ndarray, "*n"]

    def residual(self) -> Float[Array | np.ndarray, "*n"]:
        """What the method made (or, negative, lost) on the way."""
        return self.input + self.bias + self.constants + self.absorbed - self.output


class Explanation(NamedTuple):
    """An explanation of one image, or stacked of many.

    Attributes:
        map: of the input's shape.
        account: see `Account`.
        bias: of every bias, by its path; empty where a method has none.
    """

    map: Float[Array | np.ndarray, "*x"]
    account: Account
    bias: Mapping[str, Float[Array | np.ndarray, "..."]]


def explainer(name: str, setting: Setting) -> Callable[..., Explanation]:
    """A method as `(params, x, target, key) -> Explanation`, ready for `jax.vmap`."""
    method = _METHODS[name]

    def run(params, x, target, key):
        result = method(setting, params, x, target, key)
        if isinstance(result, Relevance):
            return _whole(result)
        if isinstance(result, Attribution):
            return Explanation(result.input, _shares(result.input, result.output), {})
        output = jnp.full((), jnp.nan, x.dtype)
        if name == "gradient_x_input":
            output = setting.fn(params, x)[target]
        return Explanation(result, _shares(result, output), {})

    return run


def window(setting: Setting) -> tuple[int, int]:
    """Side of the squares that occlusion hides, and their distance."""
    side = max(2, setting.image[0] // 7)
    return side, side // 2


def _whole(result: Relevance) -> Explanation:
    def total(parts):
        return sum(map(jnp.sum, parts.values()), jnp.zeros(()))

    account = Account(
        result.output,
        result.input.sum(),
        total(result.bias),
        total(result.constants),
        total(result.absorbed),
        result.magnitude(),
    )
    return Explanation(result.input, account, result.bias)


def _shares(found, output) -> Account:
    """Of maps that leave nothing to biases."""
    zero = jnp.zeros_like(output)
    size = jnp.abs(found).sum() + jnp.abs(output)
    return Account(output, found.sum(), zero, zero, zero, size)


def _lrp(make: Callable[[Setting], Rules] | None = None) -> Callable:
    def run(s, params, x, target, key):
        del key
        rules = None if make is None else make(s)
        return relevance.explain(
            s.fn, params, x, target=target, baseline="zero", rules=rules
        )

    return run


def _composite(s: Setting) -> Rules:
    return Rules(
        layer=relevance.gamma(s.gamma),
        first=relevance.z_box(*s.domain),
        last=relevance.epsilon(s.epsilon),
    )


def _plain(method: Callable) -> Callable:
    """A method that takes no more than what every one takes."""
    return lambda s, params, x, target, key: method(s.fn, params, x, target=target)


def _deeplift(s, params, x, target, key):
    return relevance.deeplift(s.fn, params, x, s.baseline, target=target)


def _integrated(s, params, x, target, key):
    return relevance.integrated_gradients(
        s.fn, params, x, target=target, baseline=s.baseline, steps=_STEPS
    )


def _expected(s, params, x, target, key):
    return relevance.expected_gradients(
        s.fn, params, x, s.backgrounds, key=key, target=target, samples=_SAMPLES
    )


def _smoothgrad(s, params, x, target, key):
    return relevance.smoothgrad(s.fn, params, x, key=key, target=target, samples=_NOISY)


def _grad_cam(s, params, x, target, key):
    found = relevance.grad_cam(s.fn, params, x, s.node, target=target)
    large = jax.image.resize(found, s.image[:2], "linear")
    return jnp.broadcast_to(large[..., None], s.image).reshape(x.shape)


def _occlusion(s, params, x, target, key):
    side, step = window(s)

    def fn(params, image):
        return s.fn(params, image.reshape(x.shape))

    found = relevance.occlusion(
        fn, params, x.reshape(s.image), target=target, window=side, stride=step,
        baseline=s.baseline.reshape(s.image),
    )  # fmt: skip
    return found.reshape(x.shape)


_METHODS: dict[str, Any] = {
    "gradient": _plain(relevance.gradient),
    "gradient_x_input": _plain(relevance.gradient_x_input),
    "lrp_0": _lrp(),
    "blame_the_bias": _lrp(),
    "lrp_epsilon": _lrp(lambda s: Rules(layer=relevance.epsilon(s.epsilon))),
    "gamma": _lrp(lambda s: Rules(layer=relevance.gamma(s.gamma))),
    "alpha_beta": _lrp(lambda s: Rules(layer=relevance.alpha_beta())),
    "z_plus": _lrp(lambda s: Rules(layer=relevance.z_plus())),
    "composite": _lrp(_composite),
    "deeplift": _deeplift,
    "integrated_gradients": _integrated,
    "expected_gradients": _expected,
    "smoothgrad": _smoothgrad,
    "guided_backprop": _plain(relevance.guided_backprop),
    "deconvnet": _plain(relevance.deconvnet),
    "grad_cam": _grad_cam,
    "occlusion": _occlusion,
}
