"""Training and sweeps of arrays on a mesh with explicit axes: one line a case.

Run by `test_train_inputs.py` in a process with two devices. Prints "name: ok", or how
the result differs from that of arrays on one device.
"""

import contextlib
import itertools as it

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import sparsejax as sj
from sparsejax import interpret

jax.config.update("jax_disable_most_optimizations", True)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 40).astype(np.int32)
MODEL = sj.models.mlp((8,), 3)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0), X[:1])
MASKS = sj.masks.ones(MODEL.apply, PARAMS, X[:1])
MASKS.weights["dense_0"]["kernel"] = jnp.ones((6, 8)).at[::2].set(0)
APPLY = sj.masked(MODEL.apply)
MESH = jax.make_mesh((2,), ("batch",))


def put(array, *axes):
    return jax.device_put(array, NamedSharding(MESH, PartitionSpec(*axes)))


def fit(x, y, params=PARAMS, masks=MASKS, key=None, size=8, **knobs):
    key = jax.random.key(0) if key is None else key
    state, metrics = sj.train.fit(
        APPLY, params, masks, (x, y), optimizer=optax.adam(0.01), batch_size=size,
        epochs=2, key=key, **knobs,
    )  # fmt: skip
    return state.params, metrics


def stacked(x, y):
    def stack(tree):
        return jax.tree.map(lambda a: jnp.stack([a, a]), tree)

    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    return fit(x, y, stack(PARAMS), stack(MASKS), keys)


def evaluate(x, y, **knobs):
    return sj.train.evaluate(APPLY, PARAMS, MASKS, (x, y), **knobs)


def tree(x, y):
    def apply(params, masks, x):
        return APPLY(params, masks, x["x"])

    def loss(z, y):
        return sj.train.cross_entropy(z, y[0])

    return sj.train.evaluate(
        apply, PARAMS, MASKS, ({"x": x}, (y,)), loss=loss, metrics={}
    )


def swept(masks, x):
    def loss(m):
        return (jnp.asarray(x) * m["hidden"]).sum() ** 2

    both = jax.value_and_grad(loss)
    return sj.sweep.evaluate(both, {"hidden": masks}, progress=False)


def automatic(x, y):
    """Data closed over that lies on both devices, on a mesh with automatic axes."""
    if x is not X:
        mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
        where = NamedSharding(mesh, PartitionSpec("batch"))
        x = jax.device_put(X, where)
        traced = interpret.Compiled(lambda m: (x * m).sum(1))
        assert traced(jnp.ones(6)).sharding.device_set == where.device_set
    return swept(X[:6], x)


def elsewhere(x, y):
    """Data closed over on one device, masks on another."""
    first, second = jax.devices()
    x = jax.device_put(X, second if x is not X else first)
    return swept(jax.device_put(X[:6], first), x)


CASES = {
    "fit": fit,
    "fit an odd batch": lambda x, y: fit(x, y, size=7),
    "fit stacked": stacked,
    "evaluate": evaluate,
    "evaluate in parts": lambda x, y: evaluate(x, y, batch_size=7),
    "evaluate trees": tree,
    "sweep": lambda x, y: swept(x[:6] if x is X else put(X[:6], "batch"), X[:5]),
    "sweep over sharded data": lambda x, y: swept(X[:6], x),
    "data on automatic axes": automatic,
    "data elsewhere": elsewhere,
}


def main():
    for (name, case), inside in it.product(CASES.items(), (False, True)):
        expected = case(X, Y)
        if inside and name.startswith("data "):
            continue  # arrays of two meshes, which JAX refuses
        with jax.set_mesh(MESH) if inside else contextlib.nullcontext():
            try:
                found = case(put(X, "batch"), put(Y, "batch"))

                def close(a, b):
                    return np.testing.assert_allclose(a, b, atol=1e-5)

                jax.tree.map(close, jax.device_get(found), jax.device_get(expected))
                says = "ok"
            except Exception as error:
                says = f"{type(error).__name__} {error}".replace("\n", " ")
        print(f"{name}{', within a mesh' if inside else ''}: {says}")


if __name__ == "__main__":
    main()
