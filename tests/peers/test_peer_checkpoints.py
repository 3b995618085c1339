"""Files that PyTorch writes, as PyTorch reads them."""

import ml_dtypes
import numpy as np
import pytest

from sparsejax import pretrained

torch = pytest.importorskip("torch", reason="needs the extra 'peers'")


def assert_read(path, expected):
    found = pretrained.pth(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        tensor = tensor.detach()
        if tensor.dtype == torch.bfloat16:
            assert found[name].dtype == ml_dtypes.bfloat16
            tensor = tensor.view(torch.int16)
            found[name] = found[name].view(np.int16)
        assert found[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(found[name], tensor.numpy())


@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_of_all_kinds(tmp_path, protocol):
    base = torch.randn(6, 8, 3)
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64,
             torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]  # fmt: skip
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
    }
    torch.save(tensors, tmp_path / "net.pth", pickle_protocol=protocol)
    assert_read(tmp_path / "net.pth", tensors)


def test_checkpoints_of_training(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    adam = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 3, 5, 5)).sum().backward()
    adam.step()
    path = tmp_path / "net.pth.tar"
    torch.save(net.state_dict(), path)
    assert_read(path, torch.load(path, weights_only=True))
    whole = {"epoch": 3, "arch": "net", "best": torch.tensor(0.5),
             "state_dict": torch.nn.DataParallel(net).state_dict(),
             "optimizer": adam.state_dict()}  # fmt: skip
    torch.save(whole, path)
    assert_read(path, torch.load(path, weights_only=True)["state_dict"])


def test_what_is_refused(tmp_path):
    path = tmp_path / "net.pth"
    torch.save(torch.nn.Linear(2, 3), path)
    with pytest.raises(ValueError, match="it names torch.nn.modules.linear.Linear;"):
        pretrained.pth(path)
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="from before PyTorch 1.6"):
        pretrained.pth(path)
