"""Data sets by name."""

import numpy as np
import pytest

from sparsejax import data


def test_digits_need_no_folder(monkeypatch):
    monkeypatch.delenv("SPARSEJAX_DATA_DIR", raising=False)
    for dataset in (data.load("digits"), data.load("digits", "/no/such/folder")):
        np.testing.assert_array_equal(dataset.test.x, data.digits().test.x)


@pytest.mark.parametrize("name", ["MNIST", "cifar10", ""])
def test_unknown_name_lists_the_known_ones(name):
    known = "expected one of digits, mnist, fashion_mnist"
    with pytest.raises(ValueError, match=f"unknown data set '{name}'; {known}"):
        data.load(name)


@pytest.mark.parametrize("name", data.NAMES[1:])
def test_names_reach_their_own_loader(name, tmp_path):
    with pytest.raises(ValueError) as direct:
        getattr(data, name)(tmp_path)
    with pytest.raises(ValueError) as by_name:
        data.load(name, tmp_path)
    assert str(by_name.value) == str(direct.value)
