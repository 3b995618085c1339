"""What it costs that a user's function closes over data and parameters.

The README's own pattern, `lambda m: loss(apply(params, m, X), Y)`, and losses and
optimizers made anew at every call. By turns in one process, on one core, CPU seconds
with all compiling: arrays as constants of the program, as `jax.jit` has them, and as
its arguments. The second call is of functions made anew, of other arrays.

    python benchmarks/closures.py
"""

import os
import time

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from flax import nnx  # noqa: E402

import sparsejax as sj  # noqa: E402
from sparsejax.interpret import _compiled  # noqa: E402

IMAGES, MASKS, CHANNELS = 1000, 16, 32
HELD = "constants", "arguments"
fit_ = sj.train.fit  # imported now
RNG = np.random.default_rng(0)


class Net(nnx.Module):
    """28x28, two convolutions with pooling, a dense layer; a mask on channels."""

    def __init__(self, rngs):
        self.first = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.second = nnx.Conv(16, CHANNELS, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(7 * 7 * CHANNELS, 10, rngs=rngs)

    def __call__(self, x, mask):
        x = nnx.max_pool(nnx.relu(self.first(x)), (2, 2), (2, 2))
        x = nnx.max_pool(nnx.relu(self.second(x)) * mask, (2, 2), (2, 2))
        return self.dense(x.reshape(len(x), -1))


def data():
    x = jnp.asarray(RNG.normal(size=(IMAGES, 28, 28, 1)), jnp.float32)
    return x, jnp.asarray(RNG.integers(0, 10, IMAGES))


def cross_entropy(z, y):
    return optax.softmax_cross_entropy_with_integer_labels(z, y).mean()


def sweep():
    """16 masks of an NNX convnet on 1,000 images"""
    graph, params = nnx.split(Net(nnx.Rngs(int(RNG.integers(100)))))
    x, y = data()
    masks = jnp.asarray(RNG.random((MASKS, CHANNELS)) < 0.5, jnp.float32)

    def loss(mask):
        return cross_entropy(nnx.merge(graph, params)(x, mask), y)

    return lambda: sj.sweep.evaluate(loss, masks, progress=False)


def hypercube():
    """All 2^10 subsets of an MLP's units, 784-100-10-10, on 1,000 images"""
    x, y = data()
    model = sj.models.mlp((100, 10), 10)
    params = model.init(jax.random.key(0), x[:1].reshape(1, -1))
    apply, x = sj.masked(model.apply), x.reshape(IMAGES, -1)
    whole = sj.masks.ones(model.apply, params, x)

    def loss(mask):
        nodes = whole.nodes | {"hidden_1": mask}
        return cross_entropy(apply(params, whole._replace(nodes=nodes), x), y)

    return lambda: sj.hypercube.evaluate(loss, 10, progress=False)


def fit(model, x):
    params = model.init(jax.random.key(0), x[:1])
    masks, apply = sj.masks.ones(model.apply, params, x[:1]), sj.masked(model.apply)

    def run():
        weight, y = jnp.asarray(RNG.random(10), jnp.float32), data()[1]

        def loss(z, y):
            each = optax.softmax_cross_entropy_with_integer_labels(z, y)
            return (weight[y] * each).mean()

        state, _ = fit_(
            apply, params, masks, (x, y), optimizer=optax.adam(1e-3), batch_size=50,
            epochs=1, key=jax.random.key(1), loss=loss,
        )  # fmt: skip
        return state.params

    return run


def fit_mlp():
    """Training an MLP 784-100-50-10 for 20 steps"""
    return fit(MLP, data()[0].reshape(IMAGES, -1))


def fit_convnet():
    """Training a convnet of 8 and 8 channels for 20 steps"""
    return fit(CONVNET, data()[0])


MLP, CONVNET = sj.models.mlp((100, 50), 10), sj.models.convnet((8, 8), 10)


def seconds(run) -> float:
    start = time.process_time()
    jax.block_until_ready(run())
    return time.process_time() - start


def main():
    together = _compiled._together
    print(
        "| | first, constants | first, arguments | anew, constants | anew, arguments |"
    )
    print("|---|---|---|---|---|")
    for case in (sweep, hypercube, fit_mlp, fit_convnet):
        times = {}
        for name, held in zip(HELD, (lambda _: False, together), strict=True):
            _compiled._together = held
            jax.clear_caches()
            times[name] = [seconds(case()) for _ in range(2)]
        cells = [times[n][i] for i in range(2) for n in HELD]
        cells = " | ".join(f"{cell:.2f}" for cell in cells)
        print(f"| {case.__doc__} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
