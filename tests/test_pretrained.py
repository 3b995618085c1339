"""Files of `torch.save` written by hand, among them such as want to run something."""

import itertools as it
import json
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsejax import data, models, pretrained, trees

DICT = b"ccollections\nOrderedDict\n)R"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def value(of):
    """A plain value as a piece of a pickle."""
    return pickle.dumps(of, 2)[2:-1]


def tensor(count, size, stride, offset=0, kind="FloatStorage", key="0"):
    pid = [value("storage"), b"ctorch\n%s\n" % kind.encode(), value(key), value("cpu"),
           value(count)]  # fmt: skip
    pid = b"(" + b"".join(pid) + b"tQ"
    rest = [value(part) for part in (offset, size, stride, False)]
    return REBUILD + b"(" + pid + b"".join(rest) + DICT + b"tR"


def state(**tensors):
    items = b"".join(value(name) + piece for name, piece in tensors.items())
    return DICT + b"(" + items + b"u"


def save(path, piece, records=None, order=b"little", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("net/data.pkl", b"\x80\x02" + piece + b".")
        if order:
            archive.writestr("net/byteorder", order)
        for key, raw in (records or {}).items():
            archive.writestr(f"net/data/{key}", raw)
    return path


def floats(n=12, order="<"):
    return np.arange(n, dtype=f"{order}f4").tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth"


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


def plain(count, size, stride, offset):
    """Every number of a tensor by itself."""
    places = [offset + sum(i * s for i, s in zip(index, stride))
              for index in it.product(*map(range, size))]  # fmt: skip
    return np.array(places, float).reshape(size), max(places, default=-1) < count


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=4),
       st.integers(0, 10))  # fmt: skip
def test_strides_are_what_they_say_or_refused(tmp_path_factory, axes, offset):
    size, stride = zip(*axes) if axes else ((), ())
    path = tmp_path_factory.getbasetemp() / "strided.pth"
    save(path, state(a=tensor(12, size, stride, offset)), {0: floats()})
    expected, inside = plain(12, size, stride, offset)
    if not inside:
        with pytest.raises(ValueError, match="a of shape .* reaches number"):
            pretrained.pth(path)
        return
    found = pretrained.pth(path)["a"]
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("DoubleStorage", "f8"), ("HalfStorage", "f2"), ("BFloat16Storage", "bfloat16"),
     ("LongStorage", "i8"), ("CharStorage", "i1"), ("ByteStorage", "u1"),
     ("BoolStorage", "?")],
)  # fmt: skip
@pytest.mark.parametrize("order", [b"little", b"big", None])
def test_numbers_of_all_kinds_and_both_orders(path, no_torch, kind, dtype, order):
    expected = np.array([0, 1, 0, 100], "f4").astype(jnp.dtype(dtype))
    raw = expected.view(f"u{expected.itemsize}")
    raw = raw.astype(raw.dtype.newbyteorder(">" if order == b"big" else "<"))
    piece = tensor(4, (3,), (1,), 1, kind, "k")
    save(path, state(a=piece), {"k": raw.tobytes()}, order)
    found = pretrained.pth(path)["a"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected[1:])


def test_shared_storages_parameters_and_where_a_state_may_be(path):
    first, second = tensor(12, (3, 4), (4, 1)), tensor(12, (4, 3), (1, 4))
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + second + value(True) + DICT
    inner = state(**{"module.a": first, "b": parameter + b"tR"})
    for piece in (inner, b"}(" + value("epoch") + value(3) + value("state_dict")
                  + inner + b"u", b"}" + value("model") + inner + b"s"):  # fmt: skip
        found = pretrained.pth(save(path, piece, {0: floats()}))
        assert list(found) == ["module.a", "b"]
        np.testing.assert_array_equal(found["module.a"], np.arange(12).reshape(3, 4))
        np.testing.assert_array_equal(found["b"], found["module.a"].T)
        assert (
            np.shares_memory(found["module.a"], found["b"])
            and not found["b"].flags.writeable
        )


def call(name, argument):
    module, name = name.encode().split(b" ")
    return b"c%s\n%s\n(%stR" % (module, name, value(argument))


def stacked(module, name, argument):
    """With the operation of protocol 4."""
    return value(module) + value(name) + b"\x93(" + value(argument) + b"tR"


@pytest.mark.parametrize("where", ["alone", "beside", "as an argument", "by build"])
@pytest.mark.parametrize(
    ("name", "form"),
    [("posix system", call), ("builtins eval", call), ("os system", call),
     ("builtins exec", stacked), ("torch load", call), ("subprocess run", call),
     ("collections OrderedDict.__init__.__globals__", stacked), ("pickle loads", call),
     ("numpy.core.multiarray scalar", call), ("torch.storage _load_from_bytes", call),
     ("sparsejax.pretrained.checkpoints io", call)],
)  # fmt: skip
def test_a_pickle_that_wants_to_run_something(path, tmp_path, where, name, form):
    mark = tmp_path / "executed"
    shell = {"posix system": f"touch {mark}", "os system": f"touch {mark}"}
    code = shell.get(name, f"open({str(mark)!r}, 'w')")
    names = name.split(" ") if form is stacked else [name]
    bad = form(*names, code)
    piece = {
        "alone": bad,
        "beside": state(a=tensor(12, (12,), (1,)), b=bad),
        "as an argument": state(a=REBUILD + b"(" + bad + b"tR"),
        "by build": state(a=tensor(12, (12,), (1,))) + bad + b"b",
    }[where]
    save(path, piece, {0: floats()})
    message = f"pickle is refused: it names {name.replace(' ', '.')}; only tensors"
    with pytest.raises(ValueError, match=message):
        pretrained.pth(path)
    assert not mark.exists()


def test_a_pickle_cannot_change_what_reads_it(path):
    good = state(a=tensor(12, (12,), (1,)))
    state_of = b"}(" + value("__defaults__") + value((1,)) + b"u"
    for target in (REBUILD, b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n",
                   tensor(12, (1,), (1,))):  # fmt: skip
        for attributes in (state_of, b"N" + state_of + b"\x86"):
            save(path, target + attributes + b"b0" + good, {0: floats()})
            try:
                pretrained.pth(path)
            except ValueError as error:
                assert "its pickle is refused" in str(error)
            found = pretrained.pth(save(path, good, {0: floats()}))
            np.testing.assert_array_equal(found["a"], np.arange(12))


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (b"r" + struct.pack("<I", 2**31) + b"N", "LONG_BINPUT 2147483648"),
        (b"\x96" + struct.pack("<Q", 2**40), "BYTEARRAY8|bytearray8"),
        (b"X" + struct.pack("<I", 2**31), "expected 2147483648 bytes"),
        (b"\x82\x01N", "EXT1 1"),
        (b"N", "it holds NoneType, not tensors by name"),
        (b"}", "it holds dict, not tensors"),
        (b"}" + value("epoch") + value(3) + b"s", "'epoch' is int, no tensor; exp"),
        (value("x") + b"Q", "its pickle is refused"),
        (state(a=tensor(12, (2**70,), (0,))), "too large|too big|exceeded"),
        (state(a=tensor(12, (0, 2**70), (0, 0))), "too large|too big|exceeded"),
        (value(("other", "float32", "0", "cpu", 3)) + b"Q", "that is no storage"),
        (value(("storage", "float99", "0", "cpu", 3)) + b"Q", "that is no storage"),
        (state(a=tensor(-12, (1,), (1,))), "that is no storage"),
        (state(a=tensor(12, (1,), (-1,))), "a tensor that is none"),
        (state(a=tensor(12, (2,), (1, 2))), "a tensor that is none"),
        (state(a=tensor(12, ("1",), (1,))), "a tensor that is none"),
        (state(a=tensor(12, (12,), (1,), 1)), "a of shape .12,. reaches number 12"),
        (state(a=tensor(12, (2**62,), (2**62,))), "reaches number"),
        (state(a=tensor(13, (1,), (1,))), "48 bytes, not those of 13 float32"),
        (state(a=tensor(12, (1,), (1,), key="9")), "net/data/9, which is missing"),
        (state(a=tensor(12, (1,), (1,), key="../data.pkl")), "which is missing"),
    ],
)  # fmt: skip
def test_other_pickles_are_refused(path, piece, message):
    save(path, piece, {0: floats()})
    with pytest.raises(ValueError, match=message) as error:
        pretrained.pth(path)
    assert str(path) in str(error.value)


def test_errors_do_not_print_what_takes_years(path):
    laughs = b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(40))
    pid = b"(" + value("storage") + b"ctorch\nFloatStorage\n" + laughs
    for piece in (laughs, laughs + b"Q", b"}K\x00" + laughs + b"s",
                  pid + value("cpu") + value(3) + b"tQ",
                  state(a=REBUILD + b"(" + laughs + b"NNNtR")):  # fmt: skip
        with pytest.raises(ValueError) as error:
            pretrained.pth(save(path, piece))
        assert len(str(error.value)) < 400


def test_other_files_are_refused(path, tmp_path):
    good = save(path, state(a=tensor(12, (12,), (1,))), {0: floats()}).read_bytes()
    refused = lambda message: pytest.raises(ValueError, match=message)
    for cut in (3, 40, len(good) // 2, len(good) - 10):
        path.write_bytes(good[:cut])
        with refused("no whole zip, truncated or not from torch.save"):
            pretrained.pth(path)
    path.write_bytes(good.replace(floats()[4:12], floats()[12:20]))
    with refused("Bad CRC-32"):
        pretrained.pth(path)
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2))
    for read in (pretrained.pth, lambda p: pretrained.load(p, models.resnet(20))):
        with refused("from before PyTorch 1.6, which is not read"):
            read(path)
    save(path, state(a=tensor(12, (1,), (1,))), {0: floats()}, b"middle")
    with refused("byteorder is b'middle'"):
        pretrained.pth(path)
    save(path, b"N", {0: b"\0" * 10**6}, compression=zipfile.ZIP_DEFLATED)
    with refused("its records are compressed or overlap"):
        pretrained.pth(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    with refused("expected one data.pkl"):
        pretrained.pth(path)
    with pytest.raises(FileNotFoundError):
        pretrained.pth(tmp_path / "nothing.pth")


def write_safetensors(path, arrays):
    """A file of float32."""
    header, raw = {}, b""
    for name, array in arrays.items():
        new = np.ascontiguousarray(array, "f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [len(raw), len(raw) + len(new)]}  # fmt: skip
        raw += new
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw)


def named(model, layer):
    """Random parameters, and the same ones with PyTorch's names and layouts."""
    rng = np.random.default_rng(0)
    like = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((64, 64, 3)))
    draw = lambda _, leaf: rng.normal(size=leaf.shape).astype("f4")
    params, theirs = trees.map_with_path(draw, like), {}
    norm = {"scale": "weight", "mean": "running_mean", "var": "running_var",
            "kernel": "weight", "bias": "bias"}  # fmt: skip
    for path, leaf in trees.by_path(params).items():
        *module, kind = path.split("/")
        leaf = leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf.T
        theirs[f"{layer(module)}.{norm[kind]}"] = leaf
    return params, theirs


def as_transformers(module):
    kinds = {"conv": "convolution", "bn": "normalization"}
    match module:
        case ["fc"]:
            return "classifier.1"
        case [stem]:
            return f"resnet.embedder.embedder.{kinds[stem[:-1]]}"
        case [stage, block, "downsample", which]:
            last = f"shortcut.{kinds[('conv', 'bn')[int(which)]]}"
        case [stage, block, layer]:
            last = f"layer.{int(layer[-1]) - 1}.{kinds[layer[:-1]]}"
    return f"resnet.encoder.stages.{int(stage[5:]) - 1}.layers.{block}.{last}"


@pytest.mark.parametrize("depth", [18, 50])
def test_names_of_transformers(path, depth):
    model = models.resnet(depth, 5, (2, 3, 4, 5))
    params, theirs = named(model, as_transformers)
    assert "resnet.encoder.stages.1.layers.0.shortcut.normalization.weight" in theirs
    steps = {k: np.zeros(()) for k in ("resnet.embedder.embedder.normalization."
                                       "num_batches_tracked",)}  # fmt: skip
    write_safetensors(path, theirs | steps)
    jax.tree.map(np.testing.assert_array_equal, pretrained.load(path, model), params)


def test_a_checkpoint_of_training_is_loaded(path, no_torch):
    """As `.pth.tar` of ImageNet and Places: prefixed names, beside other things."""
    model = models.resnet(18, 5, (2, 3, 4, 5))
    params, theirs = named(model, lambda module: ".".join(["module", *module]))
    pieces, records = {}, {}
    for key, (name, leaf) in enumerate(theirs.items()):
        stride = np.cumprod([1, *leaf.shape[:0:-1]])[::-1].tolist()
        pieces[name] = tensor(leaf.size, leaf.shape, tuple(stride), key=str(key))
        records[key] = np.ascontiguousarray(leaf).tobytes()
    piece = b"}(" + value("arch") + value("resnet18") + value("state_dict")
    save(path, piece + state(**pieces) + b"u", records)
    jax.tree.map(np.testing.assert_array_equal, pretrained.load(path, model), params)
    with pytest.raises(ValueError, match="is of another network: the model lacks"):
        pretrained.load(path, models.resnet(20))


FOLDER = Path(os.environ.get(data.VARIABLE, "missing"))


@pytest.mark.slow
@pytest.mark.skipif(not (FOLDER / "resnet_cifar10").is_dir(),
                    reason=f"needs {data.VARIABLE} with resnet_cifar10 and "
                    "cifar10/test.zip")  # fmt: skip
@pytest.mark.parametrize(("depth", "expected"), [(20, 0.8103), (56, 0.8320)])
def test_accuracy_of_networks_that_others_trained(depth, expected):
    model = models.resnet(depth)
    file = FOLDER / "resnet_cifar10" / f"resnet{depth}_cifar10.safetensors"
    params = pretrained.load(file, model)
    (x, y), _ = data.image_folder(FOLDER / "cifar10" / "test.zip")
    mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
    apply = jax.jit(model.apply)
    batches = np.split((x - mean) / std, 50)
    found = np.concatenate([apply(params, batch).argmax(-1) for batch in batches])
    assert np.mean(found == y) == pytest.approx(expected, abs=1e-9)
