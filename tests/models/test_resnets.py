"""Residual networks against XLA's convolutions, and files of parameters."""

import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import lift, masks, models, pretrained, prune, trees
from sparsejax.models._convolution import convolve


def numbers(depth):
    shapes = jax.eval_shape(models.resnet(depth).init, jax.random.key(0),
                            jnp.zeros((32, 32, 3)))  # fmt: skip
    return trees.by_path(shapes)


@pytest.mark.parametrize(
    ("depth", "expected"),
    [(20, 269_722), (56, 853_018), (18, 11_689_512), (50, 25_557_032)],
)
def test_as_many_parameters_as_pytorch_has(depth, expected):
    learnt = {k: v for k, v in numbers(depth).items() if models.is_trainable(k, v)}
    assert sum(v.size for v in learnt.values()) == expected


@pytest.fixture(scope="module")
def small():
    model = models.resnet(20, widths=(4, 4, 8))
    x = jax.random.normal(jax.random.key(1), (3, 8, 8, 3))
    return model, jax.jit(model.init)(jax.random.key(0), x), x


def test_statistics_of_training_are_those_of_evaluation_in_the_limit(small):
    model, params, _ = small
    x = jax.random.normal(jax.random.key(1), (32, 8, 8, 3))
    train = jax.jit(lambda p: model.train_apply(p, x, key=jax.random.key(0)))
    y, new = train(params)
    for _ in range(150):
        _, new = train(new)
    count = 8 * 8 * 32
    np.testing.assert_allclose(jax.jit(model.apply)(new, x), y, rtol=0.1, atol=0.1)
    h = convolve(x, params["conv1"]["kernel"], 1, 1)
    np.testing.assert_allclose(new["bn1"]["mean"], h.mean((0, 1, 2)), atol=1e-4)
    var = h.var((0, 1, 2)) * count / (count - 1)
    np.testing.assert_allclose(new["bn1"]["var"], var, rtol=1e-4)


def test_strides_of_the_first_convolution(small):
    model, params, x = small
    coarse = models.resnet(20, widths=(4, 4, 8), stride=2)

    def stem(model):
        return jax.jit(lift.activations(model.apply))(params, x)[1]["stem"]

    np.testing.assert_allclose(stem(coarse), stem(model)[:, ::2, ::2], atol=1e-6)


def test_units_and_kernels_are_found(small):
    model, params, x = small
    out, acts = jax.jit(lift.activations(model.apply))(params, x)
    assert out.shape == (3, 10) and acts["layer3_2"].shape == (3, 2, 2, 8)
    assert {"stem", "layer1_0_conv1", "layer1_0"} < set(acts) and len(acts) == 19
    weights = masks.ones(model.apply, params, x).weights
    assert sum(m.ndim > 0 for m in jax.tree.leaves(weights)) == 20
    found = {layer.kernel.path: layer.kernel.places.shape
             for layer in prune.layer_hessians(model.apply, params, x)}  # fmt: skip
    assert len(found) == 20 and found["layer3/0/conv1/kernel"] == (3, 3, 4, 8)


def write(path, arrays, cut=None, **changes):
    header, raw = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        place = [len(raw), len(raw) + len(data)]
        entry = {"dtype": "F32", "shape": list(array.shape), "data_offsets": place}
        header[name] = entry | changes
        raw += data
    text = json.dumps(header).encode()
    path.write_bytes((struct.pack("<Q", len(text)) + text + raw)[:cut])
    return path


def as_pytorch(params):
    """Names and layouts of a state_dict."""
    norm = {"scale": "weight", "mean": "running_mean", "var": "running_var"}
    for path, leaf in trees.by_path(params).items():
        *module, kind = path.split("/")
        leaf = np.asarray(leaf)
        if kind == "kernel":
            kind = "weight"
            leaf = leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf.T
        yield ".".join([*module, norm.get(kind, kind)]), leaf


@pytest.mark.parametrize("prefix", ["", "module."])
def test_files_of_pytorch_are_read(small, tmp_path, prefix):
    model, params, _ = small
    named = {prefix + name: leaf for name, leaf in as_pytorch(params)}
    found = pretrained.load(write(tmp_path / "net.safetensors", named), model)
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_bad_files(small, tmp_path):
    model, params, _ = small
    named, path = dict(as_pytorch(params)), tmp_path / "net.safetensors"
    for cut in (4, 100, -1):
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            pretrained.load(write(path, named, cut=cut), model)
    with (
        pytest.warns(match="left out 'bn1.bias .F99.'"),
        pytest.raises(ValueError, match="lacks"),
    ):
        pretrained.load(write(path, named, dtype="F99"), model)
    with pytest.raises(ValueError, match="the file lacks 'bn1/bias'"):
        pretrained.load(write(path, {"conv1.weight": named["conv1.weight"]}), model)
    named["conv1.weight"] = named["conv1.weight"][:1]
    with pytest.raises(ValueError, match="conv1/kernel has shape"):
        pretrained.load(write(path, named), model)


def test_bad_depths():
    with pytest.raises(ValueError, match="there is no ResNet-21; expected one of 18"):
        models.resnet(21)
    with pytest.raises(ValueError, match="3 stages"):
        models.resnet(20, widths=(1, 2))
    with pytest.raises(ValueError, match="stride is 0; expected at least 1"):
        models.resnet(8, stride=0)
