"""Pictures of units side by side, as a notebook shows them."""

from typing import Any

import numpy as np

from sparsejax import pages
from sparsejax.pages import tag

_MOST = 16
_SIDE = 112  # CSS pixels


def html(images: Any, values: Any, units: Any) -> str:
    """A picture of each unit, the first of several, with its number and value.

    What is no picture (vectors, more than four channels) is a row of numbers.
    """
    images, values = np.asarray(images), np.asarray(values)
    images = images.reshape(len(units), -1, *images.shape[values.ndim :])[:, 0]
    values = values.reshape(len(units), -1)[:, 0]
    title = f"What {pages.counted(len(units), 'unit')} respond to"
    pictures = images.ndim == 4 and images.shape[-1] in (1, 3)
    if not pictures:
        rows = zip(np.asarray(units).tolist(), values.tolist(), strict=True)
        return pages.output(pages.listing(rows, ("unit", "objective"), title=title))
    tiles = [
        _tile(image, f"unit {unit}", f"{value:.3g}")
        for image, unit, value in zip(images[:_MOST], units, values, strict=False)
    ]
    more = len(images) - _MOST
    left = [tag("p", f"… and {more} more", class_="sj-quiet")] if more > 0 else []
    grid = "display:flex;flex-wrap:wrap;gap:8px 12px"
    return pages.output(
        tag("p", tag("b", title)), tag("div", *tiles, style=grid), *left
    )


def _tile(image: np.ndarray, name: str, objective: str) -> pages.Html:
    finite = np.isfinite(image)
    values = image[finite] if finite.any() else np.zeros(1)
    low, high = float(values.min()), float(values.max())
    image = np.where(finite, image, low)  # black where it diverged
    scaled = np.round(255 * (image - low) / ((high - low) or 1)).astype(np.uint8)
    picture = scaled[..., 0] if image.shape[-1] == 1 else scaled
    uri = pages.data_uri(pages.png(picture), "image/png")
    drawn = tag("img", src=uri, alt=name, width=_SIDE)
    return tag("div", drawn, f"{name}: {objective}")
