import numpy as np
import pytest

from sparsejax import features

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_the_root_gives_back_the_covariance(channels, rng):
    mixing = rng.normal(size=(channels, channels))
    images = rng.normal(size=(4, 6, 7, channels)) @ mixing.T + 3
    root = features.decorrelation(images)
    wanted = np.cov(images.reshape(-1, channels).T).reshape(channels, channels)
    found = root @ root.T
    np.testing.assert_allclose(found / found[0, 0], wanted / wanted[0, 0], rtol=1e-10)
    lengths = np.linalg.norm(root, axis=0)
    assert abs(lengths[0] - 1) < 1e-12 and (np.diff(lengths) <= 1e-12).all()


def test_whitened_channels_have_no_correlation(rng):
    images = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3))
    white = images @ np.linalg.inv(features.decorrelation(images)).T
    found = np.cov(white.T)
    np.testing.assert_allclose(found / found[0, 0], np.eye(3), atol=1e-10)


def test_photographs_vary_most_in_brightness():
    lengths = np.linalg.norm(features.PHOTOGRAPHS, axis=0)
    assert lengths.max() == pytest.approx(1) and lengths.argmax() == 0
    assert np.ptp(features.PHOTOGRAPHS[:, 0]) < 0.03


@pytest.mark.parametrize("images", [np.ones((5, 3)), np.ones((1, 3)), [[1], [np.nan]]])
def test_nothing_to_learn_from(images):
    with pytest.raises(ValueError, match="places with finite|constant"):
        features.decorrelation(np.asarray(images, float))
