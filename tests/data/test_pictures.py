"""Files of images of every mode that Pillow knows: their pixels, by hand."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sparsejax.data._pictures import picture, pixels, suffixes


def save(kind, mode, value, size=(2, 1), **options):
    """A file of one colour, or of an array."""
    image = value
    if not isinstance(value, Image.Image):
        image = Image.new(mode, size, value)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(depth, color, row, width, transparent=None, palette=None):
    number = struct.Struct(">I").pack

    def chunk(name, data):
        return b"".join(
            (number(len(data)), name, data, number(zlib.crc32(name + data)))
        )

    head = struct.pack(">IIBBBBB", width, 1, depth, color, 0, 0, 0)
    parts = [chunk(b"IHDR", head)]
    parts += [chunk(b"PLTE", palette)] if palette else []
    parts += [chunk(b"tRNS", transparent)] if transparent else []
    parts += [chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(bits, row, white=1, form=1, order="<", width=2):
    """Greys; `white` is 0 where 0 is white, `form` 2 for signs, 3 for floats."""
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: white, 273: 134, 277: 1,
            278: 1, 279: len(row), 339: form}  # fmt: skip
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8)

    def pad(value):
        return struct.pack(f"{order}H", value).ljust(4, b"\0")

    entries = [
        struct.pack(f"{order}HHI", tag, 3, 1) + pad(v) for tag, v in tags.items()
    ]
    body = struct.pack(f"{order}H", len(tags)) + b"".join(entries) + b"\0" * 4
    return head + body + row


def cmyk(c, m, y, k):
    return [(255 - v) * (255 - k) / 255**2 for v in (c, m, y)]


def ycbcr(y, cb, cr):
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    return [v / 255 for v in (red, green, blue)]


def hsv(turn, saturation, value):
    """Hue in [0, 1/3], between red and green."""
    low, part = value * (1 - saturation), 6 * turn
    red = value - saturation * value * max(part - 1, 0)
    green = low + saturation * value * min(part, 1)
    return [red, green, low]


def lab(light, a, b):
    """CIE's formulas, white of D50 brought to sRGB's D65."""
    f = (light + 16) / 116

    def back(t):
        return t**3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29)

    xyz = [back(f + a / 500) * 0.9642, back(f), back(f - b / 200) * 0.8249]
    to_rgb = [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.033454],
              [0.0719453, -0.2289914, 1.4052427]]  # fmt: skip
    linear = np.array(to_rgb) @ xyz
    return np.where(
        linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear
    )


def on_white(alpha, *colors):
    return [c / 255 * alpha / 255 + 1 - alpha / 255 for c in colors]


def palette(image):
    image.putpalette([10, 20, 30, 40, 50, 60])
    return image


def first_of(kind):
    frames = [Image.new("RGB", (2, 1), v) for v in ((255, 0, 0), (0, 0, 255))]
    return save(
        kind, "", frames[0], save_all=True, append_images=frames[1:], lossless=1
    )


def big(*numbers):
    return struct.pack(f">{len(numbers)}H", *numbers)


def little(*numbers):
    return struct.pack(f"<{len(numbers)}H", *numbers)


def floats(*numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers)


wide = Image.fromarray(np.array([[0, 40000]], np.uint16))
WIDE = [0, 40000 / 65535]
P = palette(Image.new("P", (2, 1), 1))
ALPHA_P = palette(Image.new("PA", (2, 1), (1, 100)))

# Mode as Pillow opens it, file, and the pixels in [0, 1] of its one row: greys or RGB.
READ = {
    "1": ("1", save("PNG", "1", 1), [1, 1]),
    "L": ("L", save("PNG", "L", 51), [0.2, 0.2]),
    "L of 2 bits": ("L", png(2, 0, b"\x1b", 4), [0, 1 / 3, 2 / 3, 1]),
    "L in WhiteIsZero": ("L", tiff(8, bytes([0, 204]), 0), [1, 0.2]),
    "P": ("P", save("PNG", "", P), [(40, 50, 60)]),
    "P of GIF": ("P", save("GIF", "", P), [(40, 50, 60)]),
    "RGB": ("RGB", save("PNG", "RGB", (51, 102, 0)), [(51, 102, 0)]),
    "RGB of WebP": ("RGB", save("WEBP", "RGB", (51, 102, 0), lossless=True),
                    [(51, 102, 0)]),
    "RGB of BMP": ("RGB", save("BMP", "RGB", (51, 102, 0)), [(51, 102, 0)]),
    "RGB of TGA": ("RGB", save("TGA", "RGB", (51, 102, 0)), [(51, 102, 0)]),
    "RGB of 16 bits": ("RGB", png(16, 2, big(65535, 40000, 255), 1),
                       [(255, 156, 0)]),
    "RGBX": ("RGB", save("TIFF", "RGBX", (51, 102, 0, 9)), [(51, 102, 0)]),
    "LA": ("LA", save("PNG", "LA", (10, 100)), [on_white(100, 10)[0]]),
    "LA opaque": ("LA", save("PNG", "LA", (10, 255)), [10 / 255]),
    "La": ("La", save("TIFF", "LA", (40, 100)).replace(
        *(struct.pack("<HHIHxx", 338, 3, 1, v) for v in (2, 1))),
        [on_white(100, 102)[0]]),
    "RGBA": ("RGBA", save("PNG", "RGBA", (10, 20, 30, 100)),
             [on_white(100, 10, 20, 30)]),
    "RGBA unseen": ("RGBA", save("PNG", "RGBA", (10, 20, 30, 0)), [1, 1]),
    "RGBA of 16 bits": ("RGBA", png(16, 4, big(40000, 0), 1), [1]),
    "PA": ("PA", save("TIFF", "", ALPHA_P), [on_white(100, 40, 50, 60)]),
    "P, one transparent": ("P", save("PNG", "", P, transparency=1), [1, 1]),
    "P, several alphas": ("P", png(8, 3, b"\0\1", 2, b"\xff\x80", b"\1\2\3\4\5\6"),
                          [[1 / 255, 2 / 255, 3 / 255], on_white(128, 4, 5, 6)]),
    "P of GIF, transparent": ("P", save("GIF", "", P, transparency=1), [1, 1]),
    "1, white is transparent": ("1", png(1, 0, b"\x40", 2, big(0)), [1, 1]),
    "L, transparent": ("L", png(8, 0, bytes([9, 51]), 2, big(9)), [1, 0.2]),
    "L of 2 bits, transparent": ("L", png(2, 0, b"\x1b", 4, big(1)),
                                 [0, 1, 2 / 3, 1]),
    "L of 4 bits, transparent": ("L", png(4, 0, b"\x0f", 2, big(0)), [1, 1]),
    "RGB, transparent": ("RGB", png(8, 2, b"\1\2\3\5\6\7", 2, big(1, 2, 3)),
                         [(255, 255, 255), (5, 6, 7)]),
    "I;16": ("I;16", save("PNG", "", wide), WIDE),
    "I;16, transparent": ("I;16", png(16, 0, big(7, 40000), 2, big(7)),
                          [1, WIDE[1]]),
    "I;16 of TIFF": ("I;16", tiff(16, little(0, 40000)), WIDE),
    "I;16B": ("I;16B", tiff(16, big(0, 40000), order=">"), WIDE),
    "I;16 in WhiteIsZero": ("I;16", tiff(16, little(65535, 25535), 0), WIDE),
    "I;16 of 12 bits": ("I;16", tiff(12, b"\xff\xf3\x33"), [1, 0x333 / 4095]),
    "I;16 of JPEG 2000": ("I;16", save("JPEG2000", "", wide), WIDE),
    "I of PGM": ("I", b"P5 2 1 65535\n" + big(0, 40000), WIDE),
    "I of PGM to 1023": ("I", b"P5 2 1 1023\n" + big(0, 1023), [0, 1]),
    "F": ("F", tiff(32, floats(0, 0.3), form=3), [0, 0.3]),
    "F in WhiteIsZero": ("F", tiff(32, floats(1, 0.7), 0, 3), [0, 0.3]),
    "F of PFM": ("F", b"Pf\n2 1\n-1.0\n" + floats(0.25, 1), [0.25, 1]),
    "CMYK of TIFF": ("CMYK", save("TIFF", "CMYK", (10, 200, 30, 40)),
                     [cmyk(10, 200, 30, 40)]),
    "CMYK of JPEG": ("CMYK", save("JPEG", "CMYK", (10, 200, 30, 40), quality=100),
                     [cmyk(10, 200, 30, 40)]),
    "YCbCr": ("YCbCr", save("TIFF", "YCbCr", (100, 110, 150)), [ycbcr(100, 110, 150)]),
    "YCbCr of JPEG": ("RGB", save("JPEG", "YCbCr", (100, 110, 150), quality=100),
                      [ycbcr(100, 110, 150)]),
    "HSV": ("RGB", save("WEBP", "HSV", (30, 128, 200), lossless=True),
            [hsv(30 / 255, 128 / 255, 200 / 255)]),
    "LAB": ("LAB", save("TIFF", "LAB", (128, 148, 118)),
            [lab(128 / 2.55, 20, -10)]),
    "first frame of GIF": ("P", first_of("GIF"), [(255, 0, 0)]),
    "first frame of PNG": ("RGB", first_of("PNG"), [(255, 0, 0)]),
    "first frame of WebP": ("RGB", first_of("WEBP"), [(255, 0, 0)]),
    "first frame of MPO": ("RGB", first_of("MPO"), [(254, 0, 0)]),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_pixels_of_every_mode(name):
    mode, raw, expected = READ[name]
    assert Image.open(io.BytesIO(raw)).mode == mode
    found = pixels(picture(raw))
    expected = np.array([np.broadcast_to(pixel, 3) for pixel in expected], float)
    expected = expected / 255 if isinstance(READ[name][2][0], tuple) else expected
    assert found.shape[0] == 1 and found.shape[2] == 3
    deep = mode in ("I", "F") or mode.startswith("I;16")
    assert found.dtype == (np.float32 if deep else np.uint8)
    error = np.abs(found[0] / 255.0 - expected).max()
    lossy = mode in ("LAB", "CMYK", "YCbCr") or "JPEG" in name
    assert error <= (1e-6 if deep else 2.01 / 255 if lossy else 1.01 / 255)
    assert picture(raw).mode == ("F" if deep else "RGB")


def test_no_mode_is_left_out():
    """Files cannot have the others: they are opened as modes above."""
    opened = {mode for mode, *_ in READ.values()}
    assert set(Image.MODES) - opened == {"RGBX", "RGBa", "HSV", "I;16N", "I;16L"}


FLOATS = tiff(32, floats(0, 255), form=3)
PAGES = {"save_all": True, "append_images": [Image.new("L", (2, 1))]}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (tiff(32, struct.pack("<ii", 0, 9), form=2), "have a sign; which of them is"),
        (tiff(16, struct.pack("<hh", -5, 9), form=2), r"numbers \(I\) have a sign"),
        (tiff(8, b"\xfb\x09", form=2), r"numbers \(L\) have a sign; which of them"),
        (tiff(32, struct.pack("<II", 0, 9)), r"\(I\) are integers of 32 bits; which"),
        (FLOATS, r"numbers \(F\) go from 0.0 to 255.0; expected 0 \(black\) to 1"),
        (tiff(32, floats(0, np.nan), form=3), "go from nan to nan"),
        (save("TIFF", "L", 5, **PAGES), "it has 2 pages; save the one"),
        (png(16, 2, big(1, 2, 3), 1, big(1, 2, 3)),
         "colour of 16 bits is its transparent one"),
        (save("EPS", "L", 5), "cannot identify"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "cannot identify"),
        (b"", "cannot identify"),
    ],
)  # fmt: skip
def test_what_is_refused(raw, message):
    with pytest.raises(Exception, match=message):
        picture(raw)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_images_stand_as_exif_says(kind, turn):
    """A 2x2 square of blocks; EXIF's numbers by the formulas of the standard."""
    gray = np.kron([[0, 80], [160, 240]], np.ones((16, 24))).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = turn
    raw = save(kind, "", Image.fromarray(gray).convert("RGB"), exif=exif)
    shown = {1: gray, 2: gray[:, ::-1], 3: gray[::-1, ::-1], 4: gray[::-1], 5: gray.T,
             6: gray[::-1].T, 7: gray[::-1, ::-1].T,
             8: gray[:, ::-1].T}[turn]  # fmt: skip
    found = pixels(picture(raw))
    assert found.shape == (*shown.shape, 3)
    assert np.abs(found.astype(int) - shown[..., None]).max() < 20


def test_endings_are_pillows():
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".bmp"} <= suffixes()
    assert not {".eps", ".ps", ".wmf", ".h5", ".pdf", ".txt", ".npy"} & suffixes()
