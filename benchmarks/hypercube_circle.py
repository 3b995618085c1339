"""All 2^20 subnetworks of a circle classifier, beside a loop over masks.

A network 2-20-2, trained as its source's was (1000 points, Adam 0.01, 20 epochs of 32
batches, Glorot initialisation), loses hidden nodes. Ours: `hypercube.evaluate_readout`
over all subsets, and `sweep.evaluate` of 65,536 random masks through the model, both
with what they take to compile. Beside them a loop that evaluates one mask after the
other as the source does, un-jitted: JAX op by op, and TensorFlow where it is installed.
The source's loop takes the loss and its gradient of every mask: ratios are to that
loop, in masks a CPU second. Errors are against NumPy in float64. Then what a mask costs
without compiling: the difference of 262,144 and 65,536 masks of programs that are ready
(of all subsets, a second call). One process.

    python benchmarks/hypercube_circle.py [--loop=200] [--sample=2000]
"""

import argparse
import importlib.util
import resource
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import sparsejax as sj
from sparsejax import hypercube

N, POINTS, SWEPT = 20, 1000, 65_536


def glorot(key, shape):
    limit = (6 / sum(shape)) ** 0.5
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)


def network(seed: int):
    """The trained parameters, and test points; as the source's."""
    keys = jax.random.split(jax.random.key(seed), 5)
    model = sj.models.mlp((N,), 2)
    params = {
        "dense_0": {"kernel": glorot(keys[0], (2, N)), "bias": jnp.zeros(N)},
        "dense_1": {"kernel": glorot(keys[1], (N, 2)), "bias": jnp.zeros(2)},
    }
    data = sj.data.circle(keys[2], POINTS, variant="published")
    state, _ = sj.train.fit(
        sj.masked(model.apply),
        params,
        sj.masks.Masks(sj.masks.ones(model.apply, params, data.x).weights, {}),
        data,
        optimizer=optax.adam(0.01),
        batch_size=POINTS // 32,
        epochs=20,
        key=keys[3],
    )
    return state.params, sj.data.circle(keys[4], POINTS, variant="published")


def readout(params, x):
    """What `evaluate_readout` takes, for the labels apart."""
    _, acts = sj.activations(sj.models.mlp((N,), 2).apply)(params, x)
    return acts["hidden_0"], params["dense_1"]["kernel"], params["dense_1"]["bias"]


def mask_loss(params, x, y):
    """The loss as a function of the node mask, through the model."""
    apply = sj.masked(sj.models.mlp((N,), 2).apply)
    weights = sj.masks.ones(sj.models.mlp((N,), 2).apply, params, x).weights

    def loss(nodes):
        masks = sj.masks.Masks(weights, {"hidden_0": nodes})
        return sj.train.cross_entropy(apply(params, masks, x), y)

    return loss


def eager_loss(params, x, y):
    """The same as one would write it for one mask, every operation dispatched."""
    first, last = params["dense_0"], params["dense_1"]

    def loss(mask):
        hidden = jnp.maximum(x @ first["kernel"] + first["bias"], 0) * mask
        logits = jax.nn.log_softmax(hidden @ last["kernel"] + last["bias"])
        return -jnp.take_along_axis(logits, y[:, None], axis=1).mean()

    return loss


def tensorflow_loops(params, x, y):
    """The source's own loop: a Keras model called for one mask at a time."""
    import tensorflow as tf  # pyright: ignore[reportMissingImports]

    keras = tf.keras
    inputs, nodes = keras.Input((2,)), keras.Input((N,))
    dense = keras.layers.Dense(N, activation="relu")
    last = keras.layers.Dense(2, activation="softmax")
    model = keras.Model([inputs, nodes], last(dense(inputs) * nodes))
    for layer, name in ((dense, "dense_0"), (last, "dense_1")):
        layer.set_weights([np.asarray(params[name][k]) for k in ("kernel", "bias")])
    entropy = keras.losses.SparseCategoricalCrossentropy()
    x, y = tf.constant(np.asarray(x)), tf.constant(np.asarray(y))

    def loss(mask):
        tiled = tf.tile(tf.convert_to_tensor(np.asarray(mask))[None], [len(x), 1])
        return entropy(y, model([x, tiled])).numpy()

    def both(mask):
        mask = tf.convert_to_tensor(np.asarray(mask))
        with tf.GradientTape() as tape:
            tape.watch(mask)
            value = entropy(y, model([x, tf.tile(mask[None], [len(x), 1])]))
        return value.numpy(), np.asarray(tape.gradient(value, mask))

    return loss, both


def exact(hidden, kernel, bias, labels, subsets):
    """Losses and gradients in float64, of some subsets."""
    hidden, kernel, bias = (np.asarray(a, np.float64) for a in (hidden, kernel, bias))
    rows = np.arange(len(labels))
    losses, gradients = [], []
    for subset in subsets:
        logits = hidden * ((subset >> np.arange(N)) & 1) @ kernel + bias
        logits -= logits.max(1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(1, keepdims=True))
        losses.append(-logits[rows, labels].mean())
        chance = np.exp(logits)
        chance[rows, labels] -= 1
        gradients.append((hidden * (chance @ kernel.T)).mean(0))
    return np.array(losses), np.array(gradients)


def timed(call):
    wall, spent = time.perf_counter(), time.process_time()
    out = jax.block_until_ready(call())
    return out, time.perf_counter() - wall, time.process_time() - spent


def least(call, repeats=3):
    """CPU seconds of programs that are compiled: the least of several calls."""
    call()
    return min(timed(call)[2] for _ in range(repeats))


def print_compiled(loss, draw, case):
    """What a mask costs without compiling."""
    print("\n| compiled | gradients | us a mask | masks / CPU s |\n|---|---|---|---|")
    for gradients, fn in ((False, loss), (True, jax.value_and_grad(loss))):

        def swept(count, fn=fn):
            return sj.sweep.evaluate(fn, draw, count=count, progress=False)

        def read_out(gradients=gradients):
            return hypercube.evaluate_readout(*case, gradients=gradients)

        more, some = (least(partial(swept, count)) for count in (4 * SWEPT, SWEPT))
        costs = {"sweep.evaluate": (more - some) / (3 * SWEPT)}
        costs["evaluate_readout"] = least(read_out) / 2**N
        for name, cost in costs.items():
            with_them = "yes" if gradients else "no"
            print(f"| {name} | {with_them} | {cost * 1e6:.2f} | {1 / cost:,.0f} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", type=int, default=200, help="masks of the loops")
    parser.add_argument("--sample", type=int, default=2000, help="subsets checked")
    args = parser.parse_args()
    params, (x, y) = network(0)
    parts, labels = readout(params, x), np.asarray(y)

    def draw(i):
        return sj.masks.bernoulli(
            jax.random.fold_in(jax.random.key(1), i), jnp.ones(N), 0.5
        )

    drawn = list(np.asarray(jax.vmap(draw)(jnp.arange(args.loop))))
    rows = []  # name, with gradients, masks, wall, CPU

    def loop(name, gradients, one):
        for mask in drawn[:2]:  # every operation is compiled when first met
            one(mask)
        _, *times = timed(lambda: [jax.block_until_ready(one(m)) for m in drawn])
        rows.append((name, gradients, len(drawn), *times))

    eager = eager_loss(params, x, y)
    loop("JAX, eager loop", False, eager)
    loop("JAX, eager loop", True, jax.value_and_grad(eager))
    if importlib.util.find_spec("tensorflow"):
        for gradients, one in enumerate(tensorflow_loops(params, x, y)):
            loop("TensorFlow, eager loop", bool(gradients), one)
    loss = mask_loss(params, x, y)
    for gradients, fn in ((False, loss), (True, jax.value_and_grad(loss))):

        def swept(fn=fn):
            return sj.sweep.evaluate(fn, draw, count=SWEPT, progress=False)

        rows.append(("sweep.evaluate", gradients, SWEPT, *timed(swept)[1:]))

    def memory():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    subsets = np.random.default_rng(0).integers(0, 1 << N, args.sample)
    checks = []
    for scale in (1.0, 50.0):
        hidden, kernel, bias = parts[0], parts[1] * scale, parts[2] * scale
        wanted = exact(hidden, kernel, bias, labels, subsets)
        for gradients in (False, True):
            before = memory()
            case = hidden, kernel, bias, labels

            def call(c=case, g=gradients):
                return hypercube.evaluate_readout(*c, gradients=g)

            found, *times = timed(call)
            name = "evaluate_readout" + (", weights x 50" if scale != 1 else "")
            rows.append((name, gradients, 1 << N, *times))
            errors = [np.abs(found.losses[subsets] / wanted[0] - 1).max()]
            if found.gradients is not None:
                off = np.abs(found.gradients[subsets] - wanted[1]).max()
                errors.append(off / np.abs(wanted[1]).max())
            finite = all(np.isfinite(a).all() for a in found if a is not None)
            checks.append((name, gradients, memory() - before, finite, errors))

    def rate(row):
        return row[2] / row[4]  # masks a CPU second

    loops = {row[0]: rate(row) for row in rows if row[0].endswith(" loop") and row[1]}
    header = ["variant", "gradients", "masks", "wall s", "CPU s", "masks / CPU s"]
    header += [f"x {name}" for name in loops]
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    for row in rows:
        name, gradients, count, wall, cpu = row
        cells = [name, "yes" if gradients else "no", f"{count:,}", f"{wall:.2f}"]
        cells += [f"{cpu:.2f}", f"{rate(row):,.0f}"]
        cells += [f"{rate(row) / loop:,.0f}" for loop in loops.values()]
        print("| " + " | ".join(cells) + " |")
    print("\n| all 2^20 | gradients | memory growth | all finite | relative error |")
    print("|---|---|---|---|---|")
    for name, gradients, grown, finite, errors in checks:
        print(f"| {name} | {'yes' if gradients else 'no'} | {grown:.0f} MB | ", end="")
        print(
            f"{'yes' if finite else 'NO'} | {', '.join(f'{e:.0e}' for e in errors)} |"
        )
    print_compiled(loss, draw, (*parts, labels))


if __name__ == "__main__":
    main()
