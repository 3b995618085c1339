"""Relevance beside zennit and captum: a convnet, batch 256, one thread.

1-16-32 channels on 28x28 with max-pooling and one dense layer, the same weights in
PyTorch and JAX. Every variant explains the same images, by turns, in one call and in
eight of 32; prints medians of CPU time, and ratios, the last of the better of each.
Ours are `interpret.Batched` explanations, which split a call of 256 themselves, with
the relevance of all biases of each image; "jit" is `jax.jit(jax.vmap(...))` of the same
in one call, and its temporaries in MB, of 256 and of 32 images.
Then 1,000 masks of the nodes of 784-32-32-10 with 8 inputs.

    python benchmarks/relevance.py
"""

import os
import statistics
import time

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402 # pyright: ignore[reportMissingImports]

import sparsejax as sj  # noqa: E402
from sparsejax import interpret, relevance  # noqa: E402

# zennit imports torchvision for its models; the wheel's operators may not be there
try:
    import torchvision  # noqa: F401 # pyright: ignore[reportMissingImports]
except RuntimeError:
    for name in ("nms", "qnms"):
        torch.library.define(
            f"torchvision::{name}",
            "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        )

import captum.attr  # noqa: E402 # pyright: ignore[reportMissingImports]
import zennit.attribution  # noqa: E402 # pyright: ignore[reportMissingImports]
import zennit.composites  # noqa: E402 # pyright: ignore[reportMissingImports]
import zennit.rules  # noqa: E402 # pyright: ignore[reportMissingImports]

torch.set_num_threads(1)
BATCH, PART, REPEATS = 256, 32, 9
rng = np.random.default_rng(0)
images = rng.random((BATCH, 28, 28, 1), np.float32)
targets = rng.integers(0, 10, BATCH).astype(np.int32)


def weights():
    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    sizes = {"conv_0": (3, 3, 1, 16), "conv_1": (3, 3, 16, 32), "dense": (1568, 10)}

    def scale(shape):
        return np.sqrt(2 / np.prod(shape[:-1])).astype(np.float32)

    return {
        name: {"kernel": normal(*s) * scale(s), "bias": normal(s[-1]) * np.float32(0.1)}
        for name, s in sizes.items()
    }


params = weights()


def network(params, x):
    h = x[None]
    for name in ("conv_0", "conv_1"):
        h = jax.lax.conv_general_dilated(
            h,
            params[name]["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        h = jax.nn.relu(h + params[name]["bias"][None, None, None])
        h = jax.lax.reduce_window(
            h, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        )
    return h.reshape(-1) @ params["dense"]["kernel"] + params["dense"]["bias"]


def torch_network():
    layers = []
    for name in ("conv_0", "conv_1"):
        kernel = torch.from_numpy(params[name]["kernel"].transpose(3, 2, 0, 1).copy())
        outputs, inputs = kernel.shape[:2]
        conv = torch.nn.Conv2d(inputs, outputs, 3, padding=1)
        state = {"weight": kernel, "bias": torch.from_numpy(params[name]["bias"])}
        conv.load_state_dict(state)
        layers += [conv, torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    kernel = params["dense"]["kernel"].reshape(7, 7, 32, 10).transpose(3, 2, 0, 1)
    dense = torch.nn.Linear(1568, 10)
    dense.weight.data = torch.from_numpy(kernel.reshape(10, -1).copy())
    dense.bias.data = torch.from_numpy(params["dense"]["bias"])
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), dense)


model = torch_network()
batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
labels = torch.from_numpy(targets).long()
onehot = torch.eye(10)[labels]


def by_zennit(rule):
    composite = zennit.composites.LayerMapComposite(
        [(zennit.types.Convolution, rule), (zennit.types.Linear, rule)]
    )

    def run(part):
        attributor = zennit.attribution.Gradient(model, composite)
        with attributor:
            return attributor(batch[part].clone(), onehot[part])[1]  # pyright: ignore

    return run


def by_captum():
    explainer = captum.attr.DeepLift(model)
    zeros = torch.zeros_like(batch)
    return lambda part: explainer.attribute(batch[part], zeros[part], labels[part])


def ours(rules, baseline="zero"):
    def one(x, target):
        return relevance.explain(
            network, params, x, target=target, baseline=baseline, rules=rules
        )

    return batched(one)


def batched(one):
    run = interpret.Batched(one)

    def explain(part):
        return jax.block_until_ready(run(images[part], targets[part]))

    explain.whole = jax.jit(jax.vmap(one))
    return explain


def gradient():
    def one(x, target):
        return network(params, x)[target]

    return batched(jax.grad(one))


R = relevance
VARIANTS = {
    "epsilon": (ours(R.Rules(layer=R.epsilon())), by_zennit(zennit.rules.Epsilon())),
    "z-plus": (ours(R.Rules(layer=R.z_plus())), by_zennit(zennit.rules.ZPlus())),
    "gamma": (ours(R.Rules(layer=R.gamma())), by_zennit(zennit.rules.Gamma())),
    "DeepLIFT": (ours(R.Rules(), np.zeros_like(images[0])), by_captum()),
    "jax.grad": (gradient(), None),
}


def measure(run, size: int) -> float:
    start = time.process_time()
    for i in range(0, BATCH, size):
        run(slice(i, i + size))
    return (time.process_time() - start) * 1e3


def whole(run):
    return lambda part: jax.block_until_ready(run.whole(images[part], targets[part]))


def memory(run, size: int) -> float:
    """MB of temporaries of a program."""
    used = run.whole.lower(images[:size], targets[:size]).compile().memory_analysis()
    return used.temp_size_in_bytes / 2**20


def beside_peers() -> None:
    times: dict[tuple, list] = {}
    for repeat in range(REPEATS + 2):  # the first two compile and warm up
        for name, pair in VARIANTS.items():
            for who, run in zip(("ours", "peer"), pair, strict=True):
                for size in (BATCH, PART):
                    took = [] if run is None else [measure(run, size)]
                    times.setdefault((name, who, size), []).extend(
                        took if repeat > 1 else []
                    )
            took = measure(whole(pair[0]), BATCH)
            times.setdefault((name, "jit", BATCH), []).extend([took] * (repeat > 1))
    middle = {k: statistics.median(v) for k, v in times.items() if v}
    columns = "ours", "peer", "ratio", "ours, by 32", "peer, by 32", "best / best"
    print("| CPU ms |", " | ".join((*columns, "jit", "MB")), "|")
    print("|---" * 9 + "|")
    for name in VARIANTS:
        row, least = [name], {}
        for size in (BATCH, PART):
            both = [middle.get((name, who, size)) for who in ("ours", "peer")]
            row += [f"{t:.0f}" if t else "" for t in both]
            least[size] = both
            if size == BATCH:
                row.append(f"{both[0] / both[1]:.2f}" if both[1] else "")
        best = [min(t for t in pair) for pair in zip(*least.values()) if pair[0]]
        row.append(f"{best[0] / best[1]:.2f}" if len(best) == 2 else "")
        row.append(f"{middle[name, 'jit', BATCH]:.0f}")
        row.append(", ".join(f"{memory(VARIANTS[name][0], n):.0f}" for n in (256, 32)))
        print(f"| {' | '.join(row)} |")


def over_masks() -> None:
    model = sj.models.mlp((32, 32), 10)
    params = model.init(jax.random.key(0), jnp.zeros(784))
    apply = sj.masked(model.apply)
    ones = sj.masks.ones(model.apply, params, jnp.zeros(784))
    keys = jax.random.split(jax.random.key(1), 1000)

    def one(key, x):
        nodes = {
            name: jax.random.bernoulli(jax.random.fold_in(key, i), 0.5, (32,)).astype(
                jnp.float32
            )
            for i, name in enumerate(sorted(ones.nodes))
        }
        masks = ones._replace(nodes=nodes)

        def fn(params, x):
            return apply(params, masks, x)

        return relevance.explain(fn, params, x, target=0, baseline="zero")

    run = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))
    inputs = rng.random((8, 784), np.float32)
    jax.block_until_ready(run(keys, inputs))
    start = time.perf_counter()
    result = jax.block_until_ready(run(keys, inputs))
    took = time.perf_counter() - start
    error = np.max(np.abs(result.residual()) / np.asarray(result.magnitude()))
    print(f"\n1,000 masks x 8 inputs: {took:.3f} s; residual / magnitude {error:.1e}")


if __name__ == "__main__":
    beside_peers()
    over_masks()
