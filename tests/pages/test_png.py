import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from sparsejax.pages import png, signed_png

sides = st.integers(1, 9)
shapes = st.one_of(
    st.tuples(sides, sides),
    st.tuples(sides, sides, st.just(3)),
    st.tuples(sides, sides, st.just(4)),
)


def decode(content):
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return np.asarray(image), image.mode


@given(hnp.arrays(np.uint8, shapes))
def test_a_decoder_returns_the_same_pixels(pixels):
    decoded, mode = decode(png(pixels))
    assert mode == {2: "L", 3: "RGB" if pixels.shape[-1] == 3 else "RGBA"}[pixels.ndim]
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("axis", [0, 1])
def test_each_filter_is_decoded(axis):
    # A ramp along one axis is shortest as differences along it.
    ramp = np.add.outer(*np.meshgrid(np.arange(60) * 3, [0])[::-1])[0]
    ramp = np.broadcast_to(ramp[0], (60, 60)).astype(np.uint8)
    ramp = ramp if axis else ramp.T
    content = png(ramp)
    np.testing.assert_array_equal(decode(content)[0], ramp)
    assert len(content) < 200


def test_views_and_lists_are_read_as_arrays():
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)[::2, ::-1]
    np.testing.assert_array_equal(decode(png(pixels))[0], pixels)
    np.testing.assert_array_equal(decode(signed_png([[0, 1]]))[0], [[128, 255]])


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (2, 2, 3, 1), (0, 2), (2, 0, 3)])
def test_shapes_that_are_no_picture_are_refused(shape):
    with pytest.raises(ValueError, match="shape .*height, width"):
        png(np.zeros(shape, np.uint8))


def test_dtypes_other_than_uint8_are_refused():
    with pytest.raises(ValueError, match="uint8.*float64.*signed_png"):
        png(np.zeros((2, 2)))


def test_signed_values_by_hand():
    decoded, mode = decode(signed_png([[-2.0, -1.0, 0.0], [0.01, 1.0, 2.0]]))
    assert mode == "L"
    # 127 / 2 = 63.5 rounds to the even 64; 127 / 200 = 0.635 rounds to 1.
    np.testing.assert_array_equal(decoded, [[1, 64, 128], [129, 192, 255]])


def test_a_given_scale_is_shared_and_saturates():
    decoded, _ = decode(signed_png([[-9.0, -1.0, 0.5]], scale=1))
    np.testing.assert_array_equal(decoded, [[1, 1, 192]])


@pytest.mark.parametrize("shape", [(2, 3), (1, 1)])
def test_zeros_are_grey(shape):
    np.testing.assert_array_equal(decode(signed_png(np.zeros(shape)))[0], 128)


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(-1e300, 1e300)))
def test_values_return_within_half_a_step(values):
    scale = np.abs(values).max() or 1.0
    back = (decode(signed_png(values))[0].astype(float) - 128) / 127
    np.testing.assert_allclose(back, values / scale, atol=0.5 / 127 + 1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    values = np.zeros((3, 3), np.float32)
    values[1, 2] = bad
    with pytest.raises(ValueError, match=r"1 of 9 .*\(1, 2\)"):
        signed_png(values)


@pytest.mark.parametrize("scale", [0, -1.0, np.nan, np.inf])
def test_scales_that_are_no_size_are_refused(scale):
    with pytest.raises(ValueError, match="scale"):
        signed_png(np.ones((2, 2)), scale)


def test_values_of_one_axis_are_refused():
    with pytest.raises(ValueError, match=r"height, width.*\(4,\)"):
        signed_png(np.zeros(4))
