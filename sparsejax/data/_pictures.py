"""Files of images of any kind that Pillow reads, as colours: what their numbers mean.

Whatever the file, an image comes out as a viewer shows it:

    colours         CMYK, YCbCr, LAB, HSV and palettes become RGB; an embedded profile
                    is not applied
    greys           three equal channels. 16 bits (12 in TIFF) keep all of their levels;
                    of colours in 16 bits the upper 8 are read
    floating point  grey from 0 to 1; refused beyond
    transparency    lies on white
    orientation     EXIF's is carried out
    animations      the first frame

Refused by name are integers of 32 bits or with a sign, since nothing says which of them
is white; TIFFs of several pages; 16-bit colours of which one means transparent; and
formats that Pillow hands to other programs (EPS, WMF) or only recognises (HDF5, ...);
and images that with 6 bytes a pixel take more than 256 MiB (45 million pixels) and 16
times the size of their file: SPARSEJAX_MAX_BYTES sets another limit, up to Pillow's of
179 million pixels.
"""

import functools
import io
import math

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps

from sparsejax import _untrusted

_UNREAD = ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_WIDE = ("I;16", "I;16L", "I;16B", "I;16N")
_SAMPLE_FORMAT, _PHOTOMETRIC = 339, 262  # tags of TIFF
_ASK = "which of them is white is not said, so save it with 8 or 16 bits"


def suffixes() -> frozenset[str]:
    """How names of files end that can be read, such as ".jpg"."""
    formats, known = _formats(), Image.registered_extensions()
    return frozenset(end for end, kind in known.items() if kind in formats)


def picture(raw: bytes, least: int = 0) -> Image.Image:
    """An image by the rules above: of mode RGB, or F (0 to 255) for deeper greys.

    Args:
        raw: what is in the file, which says of which kind it is.
        least: read JPEGs at a fraction of their size, but not below this one.

    Raises:
        ValueError: for what is refused, and what unfolds too far.
        Exception: whatever Pillow's decoders raise.
    """
    with Image.open(io.BytesIO(raw), formats=_formats()) as image:
        coding = _coding(image)
        _check(image, coding)
        if least:
            image.draft("RGB", (least, least))
        _untrusted.check_size(6 * math.prod(image.size), len(raw))
        ImageOps.exif_transpose(image, in_place=True)
        most = _most(image, coding)
        if most:
            grays = _grays(image, most)
            grays *= 255
            return Image.fromarray(grays)
        if coding in ("L;2", "L;4") and "transparency" in image.info:
            # Pillow spreads the greys over 0 to 255, but not the transparent one.
            image.info["transparency"] *= {"L;2": 85, "L;4": 17}[coding]
        return _on_white(image) if _has_alpha(image) else image.convert("RGB")


def pixels(
    image: Image.Image,
) -> UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]:
    """Numbers from 0 to 255 of a `picture`, which may have been resized."""
    numbers = np.asarray(image)
    return numbers if numbers.ndim == 3 else np.repeat(numbers[..., None], 3, -1)


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.preinit()  # the common ones come first, and are tried first
    Image.init()
    return tuple(name for name in Image.OPEN if name not in _UNREAD)


def _coding(image: Image.Image) -> str:
    """How numbers are stored in the file, in Pillow's words; "" if it does not say."""
    tile = getattr(image, "tile", None)
    args = tile[0][3] if tile else ""
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _check(image: Image.Image, coding: str) -> None:
    if image.format == "TIFF":
        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise ValueError(f"it has {pages} pages; save the one that is meant")
        if 2 in getattr(image, "tag_v2").get(_SAMPLE_FORMAT, ()):
            raise ValueError(f"its numbers ({image.mode}) have a sign; {_ASK}")
    if coding == "RGB;16B" and "transparency" in image.info:
        raise ValueError(
            "a colour of 16 bits is its transparent one; save it with an alpha channel"
        )


def _most(image: Image.Image, coding: str) -> int:
    """The number that is white, 0 for images of 8 bits."""
    if image.mode in _WIDE:
        return 4095 if coding == "I;12" else 65535
    if image.mode == "I":
        if image.format not in ("PNG", "PPM"):  # these two have at most 16 bits
            raise ValueError(f"its numbers (I) are integers of 32 bits; {_ASK}")
        return 65535
    return 1 if image.mode == "F" else 0


def _grays(image: Image.Image, most: int) -> Float32[np.ndarray, "h w"]:
    """From 0 to 1, where `most` is white."""
    numbers = np.asarray(image)
    grays = numbers.astype(np.float32) / np.float32(most)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # white is 0 in this TIFF
        grays = 1 - grays
    if "transparency" in image.info:
        grays[numbers == image.info["transparency"]] = 1
    if not ((grays >= 0) & (grays <= 1)).all():
        raise ValueError(
            f"its numbers ({image.mode}) go from {numbers.min()} to {numbers.max()}; "
            f"expected 0 (black) to {most} (white)"
        )
    return grays


def _has_alpha(image: Image.Image) -> bool:
    palette = image.palette if image.mode == "P" else None
    return (
        image.mode in _WITH_ALPHA
        or "transparency" in image.info
        or (palette is not None and palette.mode.endswith("A"))
    )


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("LA") if image.mode == "La" else image
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
