"""All 2^16 subsets of the heads of a transformer: how long each of three ways takes.

`models.transformer` of two blocks of eight heads of 4, width 32, 128 neurons and
sequences of 8; KL of the masked network to the whole one, 64 sequences, at the last
position or at all. `hypercube.evaluate` of the heads in groups, one for each block,
beside the same of nodes in one row and PyTorch's forward hooks, one mask after the
other, on the same weights: both of some masks, from whose time that of all is
extrapolated. On one core, CPU seconds, ours with all tracing and compiling; of the last
position the last block computes that one alone, in all.

    python benchmarks/subsets.py
"""

import importlib.util
import os
import statistics
import time

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import sparsejax as sj  # noqa: E402

VOCABULARY, LENGTH, HEADS, HEAD, NEURONS, EXAMPLES = 32, 8, 8, 4, 128, 64
RUNS, SAMPLE, WARM, PLAIN, SMALL = 2, 150, 5, 12, 8
MODEL = sj.models.transformer(
    VOCABULARY, LENGTH, heads=HEADS, head=HEAD, neurons=NEURONS, sink=False, edges=False
)
IDS = jax.random.randint(jax.random.key(1), (EXAMPLES, LENGTH), 0, VOCABULARY)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0), IDS)
GROUPS = {"z_0": HEADS, "z_1": HEADS}


def seconds(run) -> tuple[float, np.ndarray]:
    start = time.process_time()
    values = run()
    return time.process_time() - start, values


def divergence(positions):
    """The KL of some heads alone to the whole network, at some positions."""

    def logits(params, ids):
        return MODEL.apply(params, ids, positions=positions)

    whole = jax.nn.log_softmax(jax.jit(logits)(PARAMS, IDS))
    weights = jax.tree.map(lambda leaf: jnp.ones(()), PARAMS)

    def kl(nodes):
        masks = sj.masks.Masks(weights, {k: m[:, None] for k, m in nodes.items()})
        own = jax.nn.log_softmax(sj.masked(logits)(PARAMS, masks, IDS))
        return (jnp.exp(whole) * (whole - own)).sum(-1).mean()

    return kl, whole


def hooks(positions, whole):
    """The same by PyTorch, one mask after the other; None without PyTorch."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    params = jax.tree.map(lambda leaf: torch.tensor(np.array(leaf)), PARAMS)
    ids, goal = torch.tensor(np.array(IDS)).long(), torch.tensor(np.array(whole))
    places = [torch.nn.Identity() for _ in GROUPS]
    past = torch.ones(LENGTH, LENGTH).tril().bool()

    def norm(x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)

    def dense(layer, x):
        return torch.nn.functional.linear(x, layer["kernel"].T, layer["bias"])

    def forward():
        h = params["embed"]["token"][ids] + params["embed"]["position"]
        for i, place in enumerate(places):
            block, read = params[f"block_{i}"], norm(h)
            query, key, value = (
                dense(block[k], read).unflatten(-1, (HEADS, HEAD)).transpose(1, 2)
                for k in ("query", "key", "value")
            )
            seen = past
            if positions is not None and i == len(places) - 1:
                query, h, seen = query[:, :, -1:], h[:, -1:], past[-1:]
            scores = (query @ key.mT / HEAD**0.5).masked_fill(~seen, -1e9)
            z = place(scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
            h = h + z @ block["out"]["kernel"]
            h = h + dense(block["down"], dense(block["up"], norm(h)).relu())
        own = dense(params["unembed"], norm(h)).log_softmax(-1)
        return (goal.exp() * (goal - own)).sum(-1).mean()

    keep = torch.ones(2, HEADS, 1, 1)
    for i, place in enumerate(places):
        place.register_forward_hook(lambda _, args, z, i=i: z * keep[i])

    @torch.inference_mode()
    def run(subsets):
        values = []
        for subset in subsets.tolist():
            bits = [subset >> i & 1 for i in range(2 * HEADS)]
            keep.copy_(torch.tensor(bits).float().reshape(keep.shape))
            values.append(forward().item())
        return np.array(values)

    return run


def table(positions):
    kl, whole = divergence(positions)
    loop, count = hooks(positions, whole), 1 << 2 * HEADS
    subsets = np.random.default_rng(0).integers(0, count, SAMPLE)
    plain = np.arange(1 << PLAIN) | count - (1 << PLAIN)  # the last nodes are kept

    def in_groups(batch_size=None):
        return sj.hypercube.evaluate(kl, GROUPS, batch_size=batch_size, progress=False)

    def in_one_row():
        def fn(mask):
            mask = jnp.concatenate([mask, jnp.ones(2 * HEADS - PLAIN)])
            return kl({"z_0": mask[:HEADS], "z_1": mask[HEADS:]})

        return sj.hypercube.evaluate(fn, PLAIN, progress=False)

    ways = {
        "in groups": (in_groups, None),
        f"in groups, batch_size={SMALL}": (lambda: in_groups(SMALL), None),
        f"in one row (2^{PLAIN} masks)": (in_one_row, plain),
    }
    if loop:
        loop(subsets[:WARM])
        name = f"PyTorch, forward hooks ({SAMPLE} masks)"
        ways = {name: (lambda: loop(subsets), subsets), **ways}
    times, values = {name: [] for name in ways}, {}
    for _ in range(RUNS):
        for name, (run, which) in ways.items():
            jax.clear_caches()
            took, values[name] = seconds(run)
            share = 1 if which is None else count / len(which)
            times[name].append(took * share)
    print("| variant | CPU s | masks / CPU s | x hooks | differs by |")
    print("|---|---|---|---|---|")
    slowest = statistics.median(next(iter(times.values())))
    for name, (_, which) in ways.items():
        took = statistics.median(times[name])
        own = values[name]
        gap = np.abs(own - values["in groups"][slice(None) if which is None else which])
        ratio = f"{slowest / took:.1f}" if loop else ""
        rate = f"{count / took:,.0f}"
        print(f"| {name} | {took:.1f} | {rate} | {ratio} | {gap.max():.0e} |")


def main():
    for positions, where in ((-1, "the last position"), (None, "all positions")):
        print(f"\nThe KL at {where}\n")
        table(positions)


if __name__ == "__main__":
    main()
