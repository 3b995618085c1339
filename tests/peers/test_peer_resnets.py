"""Residual networks written out in PyTorch: the same numbers at every block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import lift, models, trees

torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
F = torch.nn.functional
STAGES = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 20: (3, 3, 3)}
WIDTHS = {18: (4, 6, 8, 10), 50: (4, 6, 8, 10), 20: (4, 6, 8)}


def forward(p, x, depth):
    """Outputs of the blocks, then logits; parameters by path, images NCHW."""
    small, found = depth == 20, {}

    def conv(name, h, stride, padding):
        return F.conv2d(h, p[f"{name}/kernel"], stride=stride, padding=padding)

    def norm(name, h):
        return F.batch_norm(h, *(p[f"{name}/{k}"] for k in ("mean", "var", "scale",
                                                            "bias")))  # fmt: skip

    h = conv("conv1", x, 1 if small else 2, 1 if small else 3)
    h = F.relu(norm("bn1", h))
    h = h if small else F.max_pool2d(h, 3, 2, 1)
    for s, count in enumerate(STAGES[depth], 1):
        for b in range(count):
            name, stride, into = f"layer{s}/{b}", 2 if s > 1 and b == 0 else 1, h
            strides = (1, stride, 1) if depth == 50 else (stride, 1)
            for i, step in enumerate(strides, 1):
                kernel = p[f"{name}/conv{i}/kernel"]
                h = conv(f"{name}/conv{i}", h, step, kernel.shape[-1] // 2)
                h = norm(f"{name}/bn{i}", h)
                h = F.relu(h) if i < len(strides) else h
            if f"{name}/downsample/0/kernel" in p:
                into = norm(f"{name}/downsample/1",
                            conv(f"{name}/downsample/0", into, stride, 0))  # fmt: skip
            elif into.shape != h.shape:
                more = h.shape[1] - into.shape[1]
                into = F.pad(into[:, :, ::2, ::2],
                             (0, 0, 0, 0, more // 2, more - more // 2))  # fmt: skip
            h = F.relu(h + into)
            found[f"layer{s}_{b}"] = h.permute(0, 2, 3, 1)
    last = "linear" if small else "fc"
    return h.mean((2, 3)) @ p[f"{last}/kernel"] + p[f"{last}/bias"], found


@pytest.mark.parametrize("depth", STAGES)
def test_blocks_and_logits_are_pytorchs(depth, rng):
    model, x = models.resnet(depth, 7, WIDTHS[depth]), rng.normal(size=(2, 45, 40, 3))
    x = x.astype("f4")
    like = jax.eval_shape(model.init, jax.random.key(0), x)

    def draw(path, leaf):
        if path.endswith(("var", "scale")):
            return rng.uniform(0.5, 1.5, leaf.shape).astype("f4")
        size = np.sqrt(2 / max(np.prod(leaf.shape[:-1]), 1)) if leaf.ndim > 1 else 0.1
        return (size * rng.normal(size=leaf.shape)).astype("f4")

    params = trees.map_with_path(draw, like)

    def outer(leaf):
        return leaf.transpose(3, 2, 0, 1).copy() if leaf.ndim == 4 else leaf

    flat = trees.by_path(params)
    theirs = {path: torch.from_numpy(outer(leaf)) for path, leaf in flat.items()}
    logits, blocks = forward(theirs, torch.from_numpy(x).permute(0, 3, 1, 2), depth)
    ours, acts = jax.jit(lift.activations(model.apply))(params, jnp.asarray(x))
    for name, block in [*blocks.items(), ("logits", logits)]:
        found = np.asarray(ours if name == "logits" else acts[name])
        assert np.abs(found - block.numpy()).max() < 1e-5 * np.abs(block.numpy()).max()
