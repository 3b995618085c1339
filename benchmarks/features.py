"""Feature visualisation of every channel of a layer, beside lucent.

Three convolutions, 3-32-64-64 with strides 1, 2, 2, on 64x64 images, the same weights
in PyTorch and JAX; one thread. Both with what they do by default: Fourier
parametrisation, decorrelated colours, random motions, Adam. CPU time for a channel and
step, by turns, medians of rounds, without compiling. Convolutions are those of XLA, as
in Flax, or dot products over patches, as in `sparsejax.models` (for training).

lucent needs torchvision, whose operators may not be there, and a kornia that has moved
its functions: both are put in place here.

    pip install torch-lucent torchvision kornia ipython
    python benchmarks/features.py
"""

import os
import statistics
import time
from typing import Any

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import torch  # noqa: E402 # pyright: ignore[reportMissingImports]
from jax.ad_checkpoint import checkpoint_name  # noqa: E402

from sparsejax import features  # noqa: E402
from sparsejax.models import convolve  # noqa: E402

for name in ("nms", "qnms"):
    try:
        torch.library.define(
            f"torchvision::{name}",
            "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        )
    except RuntimeError:
        pass
lucent: Any = None
try:
    import kornia  # noqa: E402 # pyright: ignore[reportMissingImports]

    for name in ("get_rotation_matrix2d", "warp_affine", "translate", "rotate"):
        if not hasattr(kornia, name):
            setattr(kornia, name, getattr(kornia.geometry.transform, name, None))
    from lucent.optvis import objectives, param  # pyright: ignore[reportMissingImports]
    from lucent.optvis import render as lucent  # pyright: ignore[reportMissingImports]
except ImportError as error:
    print(f"without lucent: {error}")

SIDE, CHANNELS, STEPS, ROUNDS = 64, 64, 4, 5
torch.set_num_threads(1)
torch.manual_seed(0)
layers = [
    torch.nn.Conv2d(3, 32, 3, 1, 1), torch.nn.ReLU(),
    torch.nn.Conv2d(32, 64, 3, 2, 1), torch.nn.ReLU(),
    torch.nn.Conv2d(64, 64, 3, 2, 1), torch.nn.ReLU(),
]  # fmt: skip
network = torch.nn.Sequential(*layers).eval()
params = [
    (jnp.asarray(layer.weight.detach().permute(2, 3, 1, 0).numpy()),
     jnp.asarray(layer.bias.detach().numpy()))
    for layer in layers[::2]
]  # fmt: skip


def convolve_as_flax(x, kernel, stride, padding):
    return jax.lax.conv_general_dilated(
        x[None], kernel, (stride, stride), [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )[0]  # fmt: skip


def network_of(convolution):
    def fn(params, x):
        for (kernel, bias), stride in zip(params, (1, 2, 2), strict=True):
            x = jax.nn.relu(convolution(x, kernel, stride, 1) + bias)
        return checkpoint_name(x, "last")

    return fn


FLAX, PATCHES = network_of(convolve_as_flax), network_of(convolve)


def ours(fn, batch, steps):
    def run():
        features.render(
            fn, params, "last", range(CHANNELS), key=jax.random.key(0), steps=steps,
            size=(SIDE, SIDE, 3), batch_size=batch, progress=False,
        )  # fmt: skip

    return run, CHANNELS


def one_by_one(steps):
    def run():
        for channel in range(4):
            lucent.render_vis(
                network, f"5:{channel}", lambda: param.image(SIDE), progress=False,
                thresholds=(steps,), show_image=False, fixed_image_size=SIDE,
            )  # fmt: skip

    return run, 4


def batched(steps):
    def run():
        total = sum(objectives.channel("5", c, batch=c) for c in range(CHANNELS))
        lucent.render_vis(
            network, total, lambda: param.image(SIDE, batch=CHANNELS), progress=False,
            thresholds=(steps,), show_image=False, fixed_image_size=SIDE,
        )  # fmt: skip

    return run, CHANNELS


def seconds(run) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


PEERS = {"lucent, one by one": one_by_one, "lucent, all in a batch": batched}
MAKERS = {
    **(PEERS if lucent else {}),
    "sparsejax, one by one": lambda steps: ours(FLAX, 1, steps),
    "sparsejax, by default": lambda steps: ours(FLAX, None, steps),
    "sparsejax, patches, one by one": lambda steps: ours(PATCHES, 1, steps),
    "sparsejax, patches, by default": lambda steps: ours(PATCHES, None, steps),
}


def main():
    # two lengths: what is paid once a call falls out of the difference
    runs = {n: (make(STEPS), make(3 * STEPS)) for n, make in MAKERS.items()}
    for short, _ in runs.values():
        short[0]()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, ((short, channels), (long, _)) in runs.items():
            spent = seconds(long) - seconds(short)
            times[name].append(1000 * spent / (2 * STEPS * channels))
    middle = {name: statistics.median(found) for name, found in times.items()}
    first = next(iter(middle.values()))
    print("| | CPU ms a channel and step | times less than the first |")
    print("|---|---|---|")
    for name, value in middle.items():
        print(f"| {name} | {value:.1f} | {first / value:.1f} |")


if __name__ == "__main__":
    main()
