"""What names cost, and what they give: unmodified models, masked by their names.

Time to trace `named(fn)` and `masked(named(fn))` beside the plain function; run time of
a jitted transformer as it is, masked by hand and by names; and the loss of all 2^12
subsets of the heads of a transformer of Flax's own layers (two blocks, six heads of
eight each) beside PyTorch's forward hooks, one mask after the other, on the same
weights: the loss of every position, and of the last, where the last block computes that
one alone, in both. On one core, CPU seconds, by turns in one process; in the last table
ours with all tracing and compiling, unless it says so.

    python benchmarks/open_models.py
"""

import functools
import os
import statistics
import time

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402 # pyright: ignore[reportMissingImports]

import sparsejax as sj  # noqa: E402

torch.set_num_threads(1)
F = torch.nn.functional
VOCABULARY, HEADS, WIDTH, LENGTH = 32, 6, 48, 16
TRACES, RUNS, FORWARDS, PARTS, ALONE = 4, 15, 20, 2, 256
IN, HIDDEN = "*/attention/out:in", "*/up:post"
KEY = jax.random.key(0)


def seconds(run) -> float:
    start = time.process_time()
    jax.block_until_ready(run())
    return time.process_time() - start


# Models: what is masked by hand has masks among its arguments


class Block(nn.Module):
    """A transformer's block, for all positions or for the last one alone."""

    heads: int
    causal: bool = True
    last: bool = False

    @nn.compact
    def __call__(self, x, masks=None):
        width, h = x.shape[-1], nn.LayerNorm(name="before")(x)
        causal = self.causal and not self.last
        mask = nn.make_causal_mask(jnp.ones(x.shape[:2])) if causal else None
        x, query = (x[:, -1:], h[:, -1:]) if self.last else (x, h)

        @functools.wraps(nn.dot_product_attention)  # Flax reads its signature
        def mix(*args, **kwargs):
            z = nn.dot_product_attention(*args, **kwargs)
            return z if masks is None else z * masks[0]

        attend = nn.MultiHeadDotProductAttention(
            self.heads, attention_fn=mix, name="attention"
        )
        x = x + attend(query, h, mask=mask)
        h = nn.gelu(nn.Dense(4 * width, name="up")(nn.LayerNorm(name="between")(x)))
        h = h if masks is None else h * masks[1]
        return x + nn.Dense(width, name="down")(h)


class Transformer(nn.Module):
    heads: int
    width: int
    blocks: int
    last: bool = False

    @nn.compact
    def __call__(self, ids, masks=None):
        x = nn.Embed(VOCABULARY, self.width, name="embed")(ids)
        x = x + self.param("place", nn.initializers.normal(1.0), x.shape[1:])
        for i in range(self.blocks):
            last = self.last and i == self.blocks - 1
            block = Block(self.heads, last=last, name=f"block_{i}")
            x = block(x, None if masks is None else masks[i])
        return nn.Dense(VOCABULARY, name="head")(nn.LayerNorm(name="norm")(x))


class ViT(nn.Module):
    """Twelve blocks of three heads, width 192, on images of 32x32 in patches of 4x4."""

    scan: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(192, (4, 4), (4, 4), name="patches")(x).reshape(len(x), -1, 192)
        x = x + self.param("place", nn.initializers.normal(0.02), x.shape[1:])
        if self.scan:
            scan = nn.scan(
                lambda block, x, _: (block(x), None),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=12,
            )
            x, _ = scan(Block(3, causal=False, name="blocks"), x, None)
        else:
            for i in range(12):
                x = Block(3, causal=False, name=f"block_{i}")(x)
        return nn.Dense(10, name="head")(nn.LayerNorm(name="norm")(x).mean(1))


# Tracing


def tracing():
    """CPU milliseconds to trace, the best of several, nothing cached."""
    print("| model | points | masks | plain | named | masked and named |")
    print("|---|---|---|---|---|---|")
    resnet, images = sj.models.resnet(50), jnp.zeros((2, 32, 32, 3))
    for title, model, x in (
        ("Linen ViT, 12 blocks", ViT(), images),
        ("the same with `nn.scan`", ViT(scan=True), images),
        ("`sj.models.resnet(50)`", resnet, images[0]),
    ):
        params = jax.eval_shape(model.init, KEY, x)
        fn = sj.named(model.apply)
        nodes = {
            p.name: jnp.ones((*p.loops, p.units))
            for p in sj.points(model.apply, params, x)
            if p.is_default
        }
        weights = jax.tree.map(lambda leaf: jnp.ones(()), params)
        masks = sj.masks.Masks(weights, nodes)
        cases = {
            model.apply: (params, x),
            fn: (params, x),
            sj.masked(fn): (params, masks, x),
        }
        times = {traced: [] for traced in cases}
        for _ in range(TRACES):
            for traced, args in cases.items():
                jax.clear_caches()

                def run(traced=traced, args=args):
                    jax.make_jaxpr(traced)(*args)

                times[traced].append(seconds(run))
        cells = " | ".join(f"{1e3 * min(own):.0f}" for own in times.values())
        count = len(sj.points(model.apply, params, x))
        print(f"| {title} | {count} | {len(nodes)} | {cells} |", flush=True)


# Running


def running():
    """CPU milliseconds a forward pass, masks of all heads and hidden units."""
    model = Transformer(heads=4, width=64, blocks=4)
    x = jax.random.randint(KEY, (8, 32), 0, VOCABULARY)
    params = jax.jit(model.init)(KEY, x)
    fn = sj.named(model.apply, [IN, HIDDEN], views={IN: (4, -1)})
    ones = sj.masks.ones(fn, params, x, axes={IN: -2})
    whole = ones._replace(weights=jax.tree.map(lambda leaf: jnp.ones(()), params))
    nodes = sj.masks.bernoulli(KEY, ones.nodes, 0.7)
    pairs = [
        tuple(m for name, m in nodes.items() if f"block_{i}/" in name)
        for i in range(model.blocks)
    ]
    apply = sj.masked(fn)
    by_name = jax.jit(lambda p, nodes, x: apply(p, whole._replace(nodes=nodes), x))
    plain, by_hand = jax.jit(model.apply), jax.jit(model.apply)
    variants = {
        "as it is": lambda: plain(params, x),
        "masked by hand": lambda: by_hand(params, x, pairs),
        "masked by names": lambda: by_name(params, nodes, x),
    }
    outputs = {name: run() for name, run in variants.items()}
    times = {name: [] for name in variants}
    for _ in range(RUNS):
        for name, run in variants.items():
            took = seconds(lambda run=run: [run() for _ in range(FORWARDS)])
            times[name].append(1e3 * took / FORWARDS)
    print("\n| a forward pass | best | median | differs from by hand |")
    print("|---|---|---|---|")
    for name, own in times.items():
        gap = float(jnp.abs(outputs[name] - outputs["masked by hand"]).max())
        best, middle = min(own), statistics.median(own)
        print(f"| {name} | {best:.2f} | {middle:.2f} | {gap:.1g} |", flush=True)


# All subsets of heads


class TorchBlock(torch.nn.Module):
    def __init__(self, last: bool):
        super().__init__()
        self.last = last
        self.before, self.between = (
            torch.nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(2)
        )
        self.query_key_value = torch.nn.Linear(WIDTH, 3 * WIDTH)
        self.out = torch.nn.Linear(WIDTH, WIDTH)
        self.up = torch.nn.Linear(WIDTH, 4 * WIDTH)
        self.down = torch.nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        h = self.before(x)
        if self.last:
            x = x[:, -1:]
            weights = self.query_key_value.weight.split((WIDTH, 2 * WIDTH))
            biases = self.query_key_value.bias.split((WIDTH, 2 * WIDTH))
            query = F.linear(h[:, -1:], weights[0], biases[0])
            key, value = F.linear(h, weights[1], biases[1]).chunk(2, -1)
        else:
            query, key, value = self.query_key_value(h).chunk(3, -1)
        parts = [
            a.unflatten(-1, (HEADS, -1)).transpose(1, 2) for a in (query, key, value)
        ]
        z = F.scaled_dot_product_attention(*parts, is_causal=not self.last)
        x = x + self.out(z.transpose(1, 2).flatten(2))
        h = F.gelu(self.up(self.between(x)), approximate="tanh")
        return x + self.down(h)


class TorchTransformer(torch.nn.Module):
    def __init__(self, last: bool):
        super().__init__()
        self.embed = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.place = torch.nn.Parameter(torch.zeros(LENGTH, WIDTH))
        self.blocks = torch.nn.ModuleList(TorchBlock(last and i == 1) for i in range(2))
        self.norm = torch.nn.LayerNorm(WIDTH, eps=1e-6)
        self.head = torch.nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids):
        x = self.embed(ids) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def load(layer, params):
    """Flax's parameters of a dense or a norm layer."""
    params = {name: np.asarray(leaf) for name, leaf in params.items()}
    outputs, inputs = layer.weight.shape if "kernel" in params else (0, 0)
    weight = params["kernel"].reshape(inputs, outputs).T if inputs else params["scale"]
    state = {"weight": weight, "bias": params["bias"].reshape(-1)}
    layer.load_state_dict({k: torch.tensor(v.copy()) for k, v in state.items()})


def joined(parts):
    """Dense layers side by side."""
    kernel = np.concatenate([np.reshape(p["kernel"], (WIDTH, -1)) for p in parts], 1)
    return {"kernel": kernel, "bias": np.concatenate([p["bias"] for p in parts])}


def torch_model(params, last):
    model = TorchTransformer(last).eval()
    model.embed.weight.data = torch.tensor(np.array(params["embed"]["embedding"]))
    model.place.data = torch.tensor(np.array(params["place"]))
    for name in ("norm", "head"):
        load(getattr(model, name), params[name])
    for i, block in enumerate(model.blocks):
        own = params[f"block_{i}"]
        attention = own["attention"]
        load(block.out, attention["out"])
        names = "query", "key", "value"
        load(block.query_key_value, joined([attention[name] for name in names]))
        for name in ("before", "between", "up", "down"):
            load(getattr(block, name), own[name])
    return model


def hook_loop(params, x, y, last):
    """Losses of masks, one after the other, by hooks on what the heads write."""
    model, keep = torch_model(params, last), torch.ones(2, HEADS, 1)
    x, y = (torch.tensor(np.array(a)).long() for a in (x, y))

    def hook(i):
        def masked(layer, args):
            z = args[0].unflatten(-1, (HEADS, -1)) * keep[i]
            return (z.flatten(2),)

        return masked

    for i, block in enumerate(model.blocks):
        block.out.register_forward_pre_hook(hook(i))

    @torch.inference_mode()
    def run(subsets):
        losses = []
        for subset in torch.tensor(subsets).reshape(-1, 2, HEADS, 1):
            keep.copy_(subset)
            losses.append(F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item())
        return np.array(losses)

    return run


def loss(last, params, x, y, first, second):
    """Our loss, for masks of the heads of both blocks."""
    fn = sj.named(Transformer(HEADS, WIDTH, 2, last).apply, IN, views={IN: (HEADS, -1)})
    masks = sj.masks.ones(fn, params, x, axes={IN: -2})
    heads = first[:, None], second[:, None]
    nodes = dict(zip(masks.nodes, heads, strict=True))
    logits = sj.masked(fn)(params, masks._replace(nodes=nodes), x)
    return sj.train.cross_entropy(logits, y)


def subsets_of_heads(last: bool, examples: int):
    ids = jax.random.randint(KEY, (examples, LENGTH + 1), 0, VOCABULARY)
    x, y = ids[:, :-1], ids[:, -1:] if last else ids[:, 1:]
    params = jax.jit(Transformer(HEADS, WIDTH, 2, last).init)(KEY, x)
    hooks = hook_loop(params["params"], x, y, last)
    subsets = np.array(sj.masks.subsets(2 * HEADS))
    parts = np.split(subsets, PARTS)

    def one_by_one():
        masks = ((m[:HEADS], m[HEADS:]) for m in subsets[:ALONE])
        return np.array([float(jitted(params, x, y, *pair)) for pair in masks])

    def in_one_row():
        return sj.hypercube.evaluate(
            lambda m: loss(last, params, x, y, m[:HEADS], m[HEADS:]),
            2 * HEADS,
            progress=False,
        )

    def in_groups():
        return sj.hypercube.evaluate(
            lambda m: loss(last, params, x, y, m["first"], m["second"]),
            {"first": HEADS, "second": HEADS},
            progress=False,
        )

    jitted = jax.jit(functools.partial(loss, last))
    jitted = jitted.lower(
        params, x, y, subsets[0, :HEADS], subsets[0, HEADS:]
    ).compile()
    ours = {
        "compiled before, one after the other": one_by_one,
        "`hypercube.evaluate(fn, 12)`": in_one_row,
        '`hypercube.evaluate(fn, {"first": 6, "second": 6})`': in_groups,
    }
    hooks(parts[0][:2])
    times, found = {name: [] for name in ["hooks", *ours]}, {name: [] for name in ours}
    wanted = []
    for part in parts:
        times["hooks"].append(seconds(lambda p=part: wanted.append(hooks(p))))
        for name, run in ours.items():
            jax.clear_caches()
            times[name].append(seconds(lambda n=name, r=run: found[n].append(r())))
    report(times, found, np.concatenate(wanted))


def report(times, found, wanted):
    """CPU seconds of all masks, masks a second, and the largest difference."""
    total, loop = len(wanted), sum(times["hooks"])
    print("| variant | CPU s | masks / CPU s | x hooks | differs by |")
    print("|---|---|---|---|---|")
    print(f"| PyTorch, forward hooks | {loop:.2f} | {total / loop:,.0f} | 1 | |")
    for name, own in found.items():
        count = len(own[0])
        rate = count / statistics.median(times[name])
        gap = max(np.abs(losses - wanted[:count]).max() for losses in own)
        took = total / rate
        print(f"| {name} | {took:.2f} | {rate:,.0f} | {loop / took:.1f} | {gap:.0g} |")


def main():
    tracing()
    running()
    for last, examples in ((False, 64), (True, 256)):
        where = "the last" if last else "every"
        print(f"\nThe loss of {where} position, {examples} sequences\n")
        subsets_of_heads(last, examples)


if __name__ == "__main__":
    main()
