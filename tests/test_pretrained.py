"""Files of `torch.save` written by hand, among them such as want to run something."""

import itertools as it
import json
import os
import pickle
import struct
import sys
import time
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
    expected, inside = plain(12, size, stride, offset)
    piece = state(a=tensor(12, size, stride, offset))
    for file in both(path, piece, {0: floats()}):
        if not inside:
            with pytest.raises(ValueError, match="a of shape .* reaches number"):
                pretrained.pth(file)
            continue
        found = pretrained.pth(file)["a"]
        assert found.dtype == np.float32 and found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)


def legacy(path, piece, records=None, keys=None, system=None, protocol=2):
    """A file from before PyTorch 1.6: records are bytes, or numbers and bytes."""
    records = {str(key): of for key, of in (records or {}).items()}
    system = system or {"protocol_version": 1001, "little_endian": True}
    head = [pickle.dumps(of, protocol) for of in (0x1950A86A20F9469CFC6C, 1001, system)]
    raw = b"".join(head) + b"\x80\x02" + piece + b"."
    raw += pickle.dumps(list(records) if keys is None else keys, protocol)
    for of in records.values():
        count, of = of if isinstance(of, tuple) else (len(of) // 4, of)
        raw += struct.pack("<q", count) + of
    path.write_bytes(raw)
    return path


def both(path, piece, records=None):
    """The same in both formats, one after the other."""
    plain = {key: of[1] if isinstance(of, tuple) else of
             for key, of in (records or {}).items()}  # fmt: skip
    yield save(path, piece, plain)
    yield legacy(path, piece, records)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("DoubleStorage", "f8"), ("HalfStorage", "f2"), ("BFloat16Storage", "bfloat16"),
     ("LongStorage", "i8"), ("CharStorage", "i1"), ("ByteStorage", "u1"),
     ("BoolStorage", "?"), ("IntStorage", "i4"), ("ShortStorage", "i2"),
     ("ComplexFloatStorage", "c8"), ("ComplexDoubleStorage", "c16")],
)  # fmt: skip
@pytest.mark.parametrize("order", [b"little", b"big", None, b"legacy", b"legacy big"])
def test_numbers_of_all_kinds_and_both_orders(path, no_torch, kind, dtype, order):
    expected = np.array([0, 1, 0, 100], "f4").astype(jnp.dtype(dtype))
    width = expected.itemsize // (2 if expected.dtype.kind == "c" else 1)
    raw = expected.view(f"u{width}")
    raw = raw.astype(raw.dtype.newbyteorder(">" if order == b"big" else "<")).tobytes()
    piece = tensor(4, (3,), (1,), 1, kind, "k")
    if order and b"legacy" in order:  # always little-endian, whatever it says
        system = {"little_endian": order == b"legacy"}
        legacy(path, state(a=piece), {"k": (4, raw)}, system=system)
    else:
        save(path, state(a=piece), {"k": raw}, order)
    found = pretrained.pth(path)["a"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected[1:])


def put(**entries):
    """A dictionary of pieces."""
    return b"}(" + b"".join(value(k) + of for k, of in entries.items()) + b"u"


FIRST, SECOND = tensor(12, (3, 4), (4, 1)), tensor(12, (4, 3), (1, 4))
PARAMETER = b"ctorch._utils\n_rebuild_parameter\n(%s" + value(True) + DICT + b"tR"
HOOKED = (b"ctorch._utils\n_rebuild_parameter_with_state\n(%s" + value(True) + DICT
          + value({"x": 1}) + b"tR")  # fmt: skip
INNER = state(**{"module.a": FIRST, "b": PARAMETER % SECOND})
PYTHON_2 = (b"ccollections\nOrderedDict\n(](]" + value("module.a") + b"a" + FIRST
            + b"a]" + value("b") + b"a" + SECOND + b"aetR")  # fmt: skip
TYPED = (b"ctorch._tensor\n_rebuild_from_type_v2\n(" + REBUILD + b"ctorch\nTensor\n"
         + SECOND[len(REBUILD) : -1] + value({"x": 1}) + b"tR")  # fmt: skip
VERSIONS = b"}" + value("_metadata") + DICT + b"sb"
OTHER = put(epoch=value(3), lr=value(0.1), names=value(["a"]))
# Where tensors may be: in all of these "module.a" is FIRST, "b" SECOND.
STATES = {
    "alone": INNER,
    "with versions of modules": INNER + VERSIONS,
    "under state_dict": put(epoch=value(3), state_dict=INNER),
    "under model": put(model=INNER),
    "under net": put(net=INNER, acc=value(93.1), epoch=value(7)),
    "under another name": put(acc=value(93.1), generator=INNER, optimizer=OTHER),
    "beside others": put(ema=INNER[:0] + state(c=FIRST), model=INNER),
    "beside a model that is none": put(model=OTHER, weights=INNER),
    "parameters with hooks": state(**{"module.a": FIRST, "b": HOOKED % SECOND}),
    "of a type": state(**{"module.a": FIRST, "b": TYPED}),
    "of Python 2": PYTHON_2,
    "of Python 2, under net": put(net=PYTHON_2),
    "without gradients": INNER.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor"
                                       ).replace(value(False) + DICT, b""),
    "with a size and a device": put(net=INNER, at=b"ctorch\ndevice\n"
                                    + value(("cuda",)) + b"R",
                                    size=b"ctorch\nSize\n" + value(((3, 4),)) + b"R"),
}  # fmt: skip


@pytest.mark.parametrize("where", STATES)
def test_shared_storages_parameters_and_where_a_state_may_be(path, no_torch, where):
    for file in both(path, STATES[where], {0: floats()}):
        found = pretrained.pth(str(file))
        assert list(found) == ["module.a", "b"]
        np.testing.assert_array_equal(found["module.a"], np.arange(12).reshape(3, 4))
        np.testing.assert_array_equal(found["b"], found["module.a"].T)
        assert np.shares_memory(found["module.a"], found["b"])
        assert not found["b"].flags.writeable and found["b"].flags.aligned


def test_several_states_are_not_guessed_at(path):
    for file in both(path, put(ema=INNER, last=state(c=FIRST)), {0: floats()}):
        with pytest.raises(ValueError, match="tensors under 'ema', 'last'; expected"):
            pretrained.pth(file)


V3 = b"ctorch._utils\n_rebuild_tensor_v3\n("


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "float8_e4m3fn",
                                   "float8_e5m2", "float8_e8m0fnu"])  # fmt: skip
def test_tensors_whose_storages_are_bytes(path, dtype):
    expected = np.array([1, 2, 4, 8], "f4").astype(jnp.dtype(dtype))
    raw = expected.tobytes()
    pid = (b"(" + value("storage") + b"ctorch.storage\nUntypedStorage\n" + value("0")
           + value("cpu") + value(len(raw)) + b"tQ")  # fmt: skip
    rest = b"".join(value(part) for part in (1, (3,), (1,), False))
    piece = V3 + pid + rest + DICT + b"ctorch\n%s\ntR" % dtype.encode()
    for file in both(path, state(a=piece), {0: (len(raw), raw)}):
        found = pretrained.pth(file)["a"]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found.view("u1"), expected[1:].view("u1"))
    piece = piece.replace(value((3,)), value((4,)))
    with pytest.raises(ValueError, match="reaches number 4 of a storage of 4"):
        pretrained.pth(save(path, state(a=piece), {0: raw}))


def test_storages_that_are_views(path):
    """As PyTorch wrote them before 0.4: of root "0" numbers 4 to 9."""
    view = pickle.dumps(("v", 4, 6), 2)[2:-1]
    seen = tensor(12, (5,), (1,), 1).replace(b"tQ", view + b"tQ")
    found = pretrained.pth(legacy(path, state(a=seen, b=FIRST), {0: floats()}))
    np.testing.assert_array_equal(found["a"], np.arange(5, 10))
    assert np.shares_memory(found["a"], found["b"])
    for change, message in [
        (("v", 8, 6), "a view beyond one"),
        (("v", 4, 5), "reaches"),
        (("v", -4, 6), "not a storage"),
        (("v", 4), "refused"),
    ]:
        bad = seen.replace(view, pickle.dumps(change, 2)[2:-1])
        with pytest.raises(ValueError, match=message):
            pretrained.pth(legacy(path, state(a=bad), {0: floats()}))


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
     ("sparsejax.pretrained._checkpoints io", call)],
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
    message = f"pickle is refused: it names {name.replace(' ', '.')}; only tensors"
    for file in both(path, piece, {0: floats()}):
        with pytest.raises(ValueError, match=message):
            pretrained.pth(file)
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
        (b"r" + struct.pack("<I", 2**31) + b"N", "it takes what is not there"),
        (b"Nr" + struct.pack("<I", 2**31), "it holds NoneType, not tensors by name"),
        (b"h\x07", "it takes what is not there"),
        (b"\x96" + struct.pack("<Q", 2**40), "BYTEARRAY8|bytearray8"),
        (b"X" + struct.pack("<I", 2**31), "expected 2147483648 bytes"),
        (b"\x82\x01N", "EXT1 1"),
        (b"N", "it holds NoneType, not tensors by name"),
        (b"}", "it holds dict, not tensors"),
        (b"}" + value("epoch") + value(3) + b"s", "'epoch' is int, no tensor; exp"),
        (value("x") + b"Q", "its pickle is refused"),
        (state(a=tensor(12, (2**70,), (0,))), "a tensor that is none"),
        (state(a=tensor(12, (0, 2**70), (0, 0))), "a tensor that is none"),
        (value(("other", "float32", "0", "cpu", 3)) + b"Q", "that is not a storage"),
        (value(("storage", "float99", "0", "cpu", 3)) + b"Q", "that is not a storage"),
        (state(a=tensor(-12, (1,), (1,))), "that is not a storage"),
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


BOMB = b")q\x000" + b"".join(b"h%ch%c\x86q%c0" % (i, i, i + 1) for i in range(60))
BOMB += b"h\x3c"
LIST = b"]q\x01(" + b"]K\x01aNa" * 2000 + b"e"


@pytest.mark.parametrize(
    ("piece", "message"),
    [  # each of these would take years, or all memory, if it were carried out
        (b"}" + BOMB + b"Ns", "it has a tuple for a key"),
        (b"}(" + BOMB + b"Nu", "it has a tuple for a key"),
        (b"ccollections\nOrderedDict\n(]](" + BOMB + b"NeatR", "it has a tuple for"),
        (b"\x8f(" + BOMB + b"\x90", "it uses EMPTY_SET"),
        (b"(" + BOMB + b"\x91", "it uses FROZENSET"),
        (b"}" + value(2**61) + b"Ns", "it has a int for a key"),
        (LIST + b"0" + (b"ccollections\nOrderedDict\n(h\x01tR0" * 2000) + b"N",
         "it holds NoneType"),
        (state(a=REBUILD + b"(N" + value(0) + (LIST + b"h\x01" * 1) + b"NNtR"),
         "a tensor that is none"),
        (b"L" + b"9" * 10**6 + b"L\n", "refused"),
        (b"\x8b" + struct.pack("<i", 2**31 - 1), "refused"),
        (b"\x8d" + struct.pack("<Q", 2**62), "refused"),
        (b"B" + struct.pack("<I", 2**32 - 1), "refused"),
        (b"(" * 10**5, "refused"),
        (b"}" * 10**5, "refused"),
    ],
)  # fmt: skip
def test_pickles_that_would_not_end(path, piece, message):
    for file in both(path, piece):
        start = time.monotonic()
        with pytest.raises(ValueError, match=message) as error:
            pretrained.pth(file)
        assert len(str(error.value)) < 400 and time.monotonic() - start < 2


GOOD = state(a=tensor(12, (12,), (1,)), b=tensor(4, (4,), (1,), key="1"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": ["0"]}, "b is in a storage that is missing"),
        ({"keys": ["0", "2"]}, "storage '2' is unknown or there twice"),
        ({"keys": ["0", "0"]}, "storage '0' is unknown or there twice"),
        ({"keys": {"0": 1}}, "no list of storages"),
        ({"keys": [0, 1]}, "no list of storages"),
        ({"records": {0: (13, floats(13)), 1: floats(4)}}, "'0' should have 12 fl"),
        ({"records": {0: (2**40, floats()), 1: floats(4)}}, "it says 1099511627776"),
        ({"records": {0: (-1, floats()), 1: floats(4)}}, "truncated or damaged"),
        ({"piece": state(a=tensor(2**60, (1,), (1,)))}, "truncated or damaged"),
        ({"piece": state(a=tensor(12, (1,), (1,)), b=tensor(13, (1,), (1,)))},
         "storage that is two"),
        ({"piece": state(a=tensor(12, (1,), (1,)),
                         b=tensor(12, (1,), (1,), 0, "IntStorage"))}, "that is two"),
        ({"piece": GOOD.replace(b"FloatStorage", b"QInt8Storage")},
         "names torch.QInt8Storage"),
        ({"piece": b"ctorch._utils\n_rebuild_qtensor\n)R"}, "_rebuild_qtensor; only"),
        ({"piece": value(("module", "Linear", "a.py", "import os")) + b"Q"},
         "no storage|refused"),
    ],
)  # fmt: skip
def test_other_legacy_files_are_refused(path, change, message):
    given = {"piece": GOOD, "records": {0: floats(), 1: floats(4)}} | change
    with pytest.raises(ValueError, match=message):
        pretrained.pth(legacy(path, **given))


def test_damaged_legacy_files_are_refused_or_read(path):
    good = legacy(path, GOOD, {0: floats(), 1: floats(4)}).read_bytes()
    for cut in range(2, len(good), 3):
        path.write_bytes(good[:cut])
        with pytest.raises(ValueError):
            pretrained.pth(path)
    rng = np.random.default_rng(0)
    for _ in range(200):
        raw = bytearray(good)
        for place in rng.integers(1, len(raw), rng.integers(1, 4)):
            raw[place] = rng.integers(256)
        path.write_bytes(raw)
        try:
            found = pretrained.pth(path)
        except ValueError:
            continue
        assert all(isinstance(array, np.ndarray) for array in found.values())
    path.write_bytes(pickle.dumps({"a": 1}, 2) + pickle.dumps(1, 2))
    with pytest.raises(ValueError, match="a pickle, but not one of torch.save"):
        pretrained.pth(path)


def test_other_files_are_refused(path, tmp_path):
    good = save(path, state(a=tensor(12, (12,), (1,))), {0: floats()}).read_bytes()

    def refused(message):
        return pytest.raises(ValueError, match=message)

    for cut in (3, 40, len(good) // 2, len(good) - 10):
        path.write_bytes(good[:cut])
        with refused("not a whole zip, truncated or not from torch.save"):
            pretrained.pth(path)
    path.write_bytes(good.replace(floats()[4:12], floats()[12:20]))
    with refused("Bad CRC-32"):
        pretrained.pth(path)
    path.write_bytes(bytes(257) + b"ustar  \0" + bytes(1000))
    for read in (pretrained.pth, lambda p: pretrained.load(p, models.resnet(20))):
        with refused("it is a tar, the format of the first versions"):
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


def write_safetensors(path, arrays, kinds=None):
    """A file of float32, or of other types, given as bytes and a shape."""
    header, raw = {}, b""
    for name, array in arrays.items():
        kind = (kinds or {}).get(name, "F32")
        if not isinstance(array, tuple):
            array = np.ascontiguousarray(array, "f4").tobytes(), np.shape(array)
        places = [len(raw), len(raw) + len(array[0])]
        header[name] = {"dtype": kind, "shape": [*array[1]], "data_offsets": places}
        raw += array[0]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw)


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("F64", struct.pack("<2d", 1.5, -2), [1.5, -2]),
        ("F16", b"\x00\x3e\x00\xc0", [1.5, -2]),
        ("BF16", b"\xc0\x3f\x00\xc0", [1.5, -2]),
        ("I64", struct.pack("<2q", -(2**40), 3), [-(2**40), 3]),
        ("I32", struct.pack("<2i", -(2**20), 3), [-(2**20), 3]),
        ("I16", struct.pack("<2h", -300, 3), [-300, 3]),
        ("I8", struct.pack("<2b", -3, 3), [-3, 3]),
        ("U64", struct.pack("<2Q", 2**63, 3), [2**63, 3]),
        ("U32", struct.pack("<2I", 2**31, 3), [2**31, 3]),
        ("U16", struct.pack("<2H", 2**15, 3), [2**15, 3]),
        ("U8", b"\xff\x03", [255, 3]),
        ("BOOL", b"\1\0", [True, False]),
        ("C64", struct.pack("<4f", 1, 2, -3, 0), [1 + 2j, -3]),
        ("F8_E4M3", b"\x3c\xc0", [1.5, -2]),  # sign, 4 bits of exponent less 7, 3
        ("F8_E5M2", b"\x3e\xc0", [1.5, -2]),  # sign, 5 bits less 15, 2
        ("F8_E8M0", b"\x7f\x82", [1, 8]),  # 2 to the power of the byte less 127
    ],
)
def test_types_of_safetensors(path, kind, raw, expected):
    write_safetensors(path, {"a": (raw, (2,)), "b": [1.0]}, {"a": kind})
    found = pretrained.safetensors(path)
    assert list(found) == ["a", "b"] and found["b"].tolist() == [1]
    assert found["a"].astype(np.array(expected).dtype).tolist() == expected
    assert len(found["a"].tobytes()) == len(raw)


def test_types_that_numpy_lacks_leave_the_others(path):
    arrays = {"a": (b"\x12\x34", (4,)), "b": [2.0], "c": (b"123", (4,))}
    write_safetensors(path, arrays, {"a": "F4", "c": "F6_E3M2"})
    with pytest.warns(match=r"left out 'a \(F4\)', 'c \(F6_E3M2\)'"):
        found = pretrained.safetensors(str(path))
    assert list(found) == ["b"] and found["b"].tolist() == [2]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "4 bytes for F32"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "data to byte 8"),
        ({"dtype": "F4", "shape": [2], "data_offsets": [0, 8]}, "data to byte 8"),
        ({"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}, "whole"),
        ({"dtype": "F32\n", "shape": [1], "data_offsets": [0, 4]}, "a type"),
        ({"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}, "not a whole"),
        ({"shape": [1], "data_offsets": [0, 4]}, "dtype"),
        ({"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}, "not a whole"),
        ([], "not a whole"),
    ],
)
def test_damaged_safetensors(path, entry, message):
    text = json.dumps({"a": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(ValueError, match=f"{path} is .*{message}"):
        pretrained.safetensors(path)
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(ValueError, match="its header would end at byte"):
        pretrained.safetensors(path)


def named(model, layer):
    """Random parameters, and the same ones with PyTorch's names and layouts."""
    rng = np.random.default_rng(0)
    like = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((64, 64, 3)))

    def draw(_, leaf):
        return rng.normal(size=leaf.shape).astype("f4")

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


WRAPPED = [
    "", "module.", "model.", "net.", "_orig_mod.", "module._orig_mod.", "model.module.",
    "_orig_mod.module.", "_fsdp_wrapped_module.", "model._checkpoint_wrapped_module.",
]  # fmt: skip


@pytest.fixture(scope="module")
def small():
    model = models.resnet(18, 5, (2, 3, 4, 5))
    return model, *named(model, ".".join)


def pieces(arrays, prefix=""):
    """A state_dict, and the bytes of its storages."""
    found, records = {}, {}
    for key, (name, leaf) in enumerate(arrays.items()):
        stride = np.cumprod([1, *leaf.shape[:0:-1]])[::-1].tolist()
        found[prefix + name] = tensor(
            leaf.size, leaf.shape, tuple(stride), key=str(key)
        )
        records[key] = np.ascontiguousarray(leaf).tobytes()
    return state(**found), records


@pytest.mark.parametrize("prefix", WRAPPED)
def test_a_checkpoint_of_training_is_loaded(path, no_torch, small, prefix):
    """As `.pth.tar` of ImageNet and Places: prefixed names, beside other things."""
    model, params, theirs = small
    inner, records = pieces(theirs, prefix)
    piece = put(arch=value("resnet18"), state_dict=inner)
    for file in both(path, piece, records):
        found = pretrained.load(str(file), model)
        jax.tree.map(np.testing.assert_array_equal, found, params)
    write_safetensors(path, {prefix + name: leaf for name, leaf in theirs.items()})
    found = pretrained.load(path, model)
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_what_is_of_another_network_is_not_loaded(path, small):
    model, _, theirs = small
    write_safetensors(path, theirs)
    with pytest.raises(ValueError, match="is of another network: the model lacks"):
        pretrained.load(path, models.resnet(20))
    write_safetensors(path, theirs | {"module.fc.bias": np.zeros(5)})
    with pytest.raises(ValueError, match="fc/bias twice, the second .* module.fc.bias"):
        pretrained.load(path, model)
    whole = theirs | {"fc.bias": (bytes(5), (5,))}
    write_safetensors(path, whole, {"fc.bias": "I8"})
    with pytest.raises(ValueError, match="fc.bias is int8; expected floating point"):
        pretrained.load(path, model)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        pretrained.load(path, model)


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
