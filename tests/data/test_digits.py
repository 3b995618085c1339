"""The split of the digits against a slow count, label by label."""

import numpy as np
from sklearn.datasets import load_digits

from sparsejax import data


def test_shapes_dtypes_and_range():
    train, test = data.digits()
    assert train.x.shape == (1437, 8, 8, 1) and train.y.shape == (1437,)
    assert test.x.shape == (360, 8, 8, 1) and test.y.shape == (360,)
    for split in (train, test):
        assert isinstance(split.x, np.ndarray) and isinstance(split.y, np.ndarray)
        assert split.x.dtype == np.float32 and split.y.dtype == np.int32
        assert split.x.min() == 0 and split.x.max() == 1
        np.testing.assert_array_equal(split.x * 16, np.round(split.x * 16))
        assert set(split.y) == set(range(10))


def test_every_fifth_image_sorted_by_label_is_tested_on():
    stored = load_digits()
    position, is_test = 0, [False] * 1797
    for label in range(10):
        for index in range(1797):
            if stored.target[index] == label:
                is_test[index] = position % 5 == 0
                position += 1
    train, test = data.digits()
    for split, wanted in ((test, True), (train, False)):
        indices = [i for i in range(1797) if is_test[i] is wanted]
        np.testing.assert_array_equal(split.y, stored.target[indices])
        np.testing.assert_array_equal(split.x[..., 0] * 16, stored.images[indices])


def test_every_label_has_its_share_in_the_test_set():
    train, test = data.digits()
    tested = np.bincount(test.y)
    assert np.all(np.abs(tested - (tested + np.bincount(train.y)) / 5) < 1)


def test_no_image_is_in_both_splits():
    train, test = data.digits()
    seen = {image.tobytes() for image in train.x}
    assert not seen & {image.tobytes() for image in test.x}


def test_every_call_gives_the_same_and_fresh_arrays():
    first, again = data.digits(), data.digits()
    np.testing.assert_array_equal(first.train.x, again.train.x)
    first.train.x[:] = 0
    assert again.train.x.max() == 1 and data.digits().train.x.max() == 1
