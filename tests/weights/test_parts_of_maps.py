"""Of every map only a part is computed; the result is that of whole maps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import weights
from sparsejax.weights import _ends as ends
from sparsejax.weights import _linear as linear

pytestmark = pytest.mark.usefixtures("float64")
SIZE, COLUMN = (12, 9, 2), np.arange(12.0)[:, None, None]


def convolve(x, kernel, stride=1, padding: Any = "SAME", spread=1):
    return jax.lax.conv_general_dilated(
        x[None], kernel, (stride, stride), padding, rhs_dilation=(spread, spread),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )[0]  # fmt: skip


def transposed(x, kernel):
    return jax.lax.conv_transpose(
        x[None], kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]


FORMS = {
    "strides": lambda k, x: convolve(x, k, stride=2),
    "uneven padding": lambda k, x: convolve(x, k, padding=((0, 2), (1, 1))),
    "dilation": lambda k, x: convolve(x, k, padding="VALID", spread=3),
    "upsampling": lambda k, x: transposed(x, k),
    "average": lambda k, x: jax.lax.reduce_window(
        x, 0.0, jax.lax.add, (3, 2, 1), (2, 1, 1), "SAME"
    ),
    "strided slices": lambda k, x: convolve(x[1::3, ::2], k),
    "side by side": lambda k, x: jnp.concatenate([x[6:], 2 * x[:, ::-1], x[:3]], 0),
    "interior padding": lambda k, x: jax.lax.pad(
        x, 0.0, [(1, 0, 2), (-2, 1, 0), (0, 0, 0)]
    ),
    "turned": lambda k, x: convolve(x, k).transpose(1, 0, 2) * COLUMN[:9],
    "columns": lambda k, x: x.sum(0) - x.mean(0, keepdims=True)[0] @ k[0, 0],
    "less the mean": lambda k, x: x - x.mean((0, 1), keepdims=True),
    "matrices": lambda k, x: jnp.einsum("yxc,yzo->zxc", x, COLUMN + k[0, 0]),
    "batched matrices": lambda k, x: jnp.einsum("yxc,ycd->yxd", x, COLUMN + k[0, 0]),
    "chosen": lambda k, x: jnp.where(COLUMN % 3 == 0, x, -x),
    "folded": lambda k, x: x.reshape(6, 2, 9, 2).sum(1) + x[::2],
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_first_place_against_a_jacobian(form, rng, at=0.0):
    fn, kernel = FORMS[form], jnp.asarray(rng.normal(size=(3, 2, 2, 2)))
    whole = jax.jit(jax.jacobian(lambda x: fn(kernel, x)))(jnp.zeros(SIZE))
    position = tuple(int(at * (n - 1)) for n in whole.shape[:-4])
    found = weights.expand(fn, kernel, None, None, size=SIZE, position=position)
    wanted = np.array(jnp.moveaxis(whole[position], 0, -1))
    both = zip(found.corner, found.weights.shape, strict=False)
    inside = tuple(slice(a, a + n) for a, n in both)
    np.testing.assert_allclose(found.weights, wanted[inside], atol=1e-10)
    wanted[inside] = 0
    assert not wanted.any()


@pytest.mark.slow
@pytest.mark.parametrize("at", [0.5, 1.0])  # of the way to the last place
@pytest.mark.parametrize("form", FORMS)
def test_other_places_against_a_jacobian(form, at, rng):
    test_the_first_place_against_a_jacobian(form, rng, at)


def test_a_position_that_sees_padding_alone(rng):
    def fn(params, x):
        return convolve(x, params, padding=((0, 3), (0, 0)))

    kernel = rng.normal(size=(3, 2, 2, 2))
    with pytest.raises(
        ValueError, match=r"position \(12, 0\) .* sees nothing of the in"
    ):
        weights.expand(fn, kernel, None, None, size=SIZE, position=(12, 0))


def test_large_maps_are_not_computed(rng):
    """Three layers under a dense one that fixes the size of the images."""

    def fn(params, x):
        for i in range(3):
            x = checkpoint_name(jax.nn.relu(convolve(x, params[0])), f"h{i}")
        return x.reshape(-1) @ params[1]

    kernel, size = rng.normal(size=(3, 3, 2, 2)), (40, 40, 2)
    params = kernel, rng.normal(size=(3200, 1))
    x = jax.ShapeDtypeStruct(size, jnp.dtype("float64"))
    two = ends.connect(fn, params, x, "h0", "h2", None)
    shapes = []

    def run(params):
        found = ends.read(two, params)
        end, place = ends.required(two, found), ((19, 20), (19, 20), (0, 2))
        shapes.extend(map(linear.sizes, linear.demand(end, place).values()))

    jax.eval_shape(run, params)
    assert shapes[0] == (5, 5, 2) and max(map(np.prod, shapes)) == 50
