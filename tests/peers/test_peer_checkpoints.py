"""Files that PyTorch writes, as PyTorch reads them."""

import ml_dtypes
import numpy as np
import pytest

from sparsejax import pretrained

torch = pytest.importorskip("torch", reason="needs the extra 'peers'")


OTHERS = {
    torch.bfloat16: (ml_dtypes.bfloat16, np.int16, torch.int16),
    torch.float8_e4m3fn: (ml_dtypes.float8_e4m3fn, np.int8, torch.int8),
    torch.float8_e5m2: (ml_dtypes.float8_e5m2, np.int8, torch.int8),
}


def assert_read(path, expected):
    found = pretrained.pth(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        tensor = tensor.detach()
        if tensor.dtype in OTHERS:
            dtype, ours, theirs = OTHERS[tensor.dtype]
            assert found[name].dtype == dtype
            tensor, found[name] = tensor.view(theirs), found[name].view(ours)
        assert found[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(found[name], tensor.numpy())


FORMATS = pytest.mark.parametrize("as_zip", [True, False])  # False: before 1.6


@FORMATS
@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_of_all_kinds(tmp_path, protocol, as_zip):
    base = torch.rand(6, 8, 3)
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64,
             torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
             torch.complex64, torch.complex128, torch.uint16, torch.uint32,
             torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2]  # fmt: skip
    tensors = {str(kind): (10 * base).to(kind) for kind in kinds}
    tensors |= {
        "same": base,
        "transposed": base.permute(2, 0, 1),
        "strided": base[1::2, ::3],
        "expanded": base[0, 0].expand(5, 3),
        "both": base.bfloat16().permute(1, 2, 0),
        "scalar": torch.tensor(3.5),
        "empty": base[:0],
        "parameter": torch.nn.Parameter(base[0]),
        "buffer": torch.nn.Buffer(base[1]),
        "frozen": torch.nn.Parameter(base[2], requires_grad=False),
    }
    tensors["named"] = torch.nn.Parameter(base[3])
    tensors["named"].role = "has a state"
    torch.save(tensors, tmp_path / "net.pth", pickle_protocol=protocol,
               _use_new_zipfile_serialization=as_zip)  # fmt: skip
    assert_read(tmp_path / "net.pth", tensors)


@FORMATS
def test_checkpoints_of_training(tmp_path, as_zip):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    adam = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 3, 5, 5)).sum().backward()
    adam.step()
    path = tmp_path / "net.pth.tar"

    def save(what):
        return torch.save(what, path, _use_new_zipfile_serialization=as_zip)

    save(net.state_dict())
    assert_read(path, torch.load(path, weights_only=True))
    whole = {"epoch": 3, "arch": "net", "best": torch.tensor(0.5),
             "state_dict": torch.nn.DataParallel(net).state_dict(),
             "optimizer": adam.state_dict()}  # fmt: skip
    save(whole)
    assert_read(path, torch.load(path, weights_only=True)["state_dict"])
    save({"net": net.state_dict(), "acc": 93.1, "epoch": 7, "size": net[0].weight.shape,
          "at": torch.device("cpu"), "type": torch.float32})  # fmt: skip
    assert_read(path, torch.load(path, weights_only=True)["net"])


def test_both_byte_orders_are_read_as_pytorch_does(tmp_path):
    """The older format says which order the machine had; numbers are in one order."""
    path, state = tmp_path / "net.pth", {"a": torch.arange(5.0)}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    raw = path.read_bytes()
    at = raw.index(b"little_endian") + len(b"little_endian")
    place = at + raw[at:].index(b"\x88")  # True
    path.write_bytes(raw[:place] + b"\x89" + raw[place + 1 :])
    assert_read(path, torch.load(path, weights_only=True))
    assert_read(path, state)


@FORMATS
@pytest.mark.filterwarnings("ignore:torch.quantize:UserWarning")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.nn.Linear(2, 3), "names torch.nn.modules.linear.Linear;"),
        (lambda: {"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)},
         "it names torch._utils._rebuild_qtensor;"),
        (lambda: {"a": torch.ones(2).to_sparse()}, "_rebuild_sparse_tensor;"),
        (lambda: torch.ones(2), "it holds Tensor, not tensors by name"),
        (lambda: [torch.ones(2)], "it holds list, not tensors by name"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, as_zip, make, message):
    path = tmp_path / "net.pth"
    torch.save(make(), path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(ValueError, match=message):
        pretrained.pth(path)
