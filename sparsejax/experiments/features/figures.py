"""Sheets of pictures of units."""

import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.plots.style import styled

_COLUMNS = 16


@styled
def sheet(
    images: Float[Array | np.ndarray, "units count height width channels"],
    units: ArrayLike,
    *,
    title: str,
) -> Figure:
    """Pictures of units in rows, their numbers over them.

    Args:
        images: in [0, 1], one or three channels; those of a unit stand in a column.
        units: their numbers.
        title: the finding.
    """
    images, units = np.clip(np.asarray(images, float), 0, 1), np.asarray(units)
    count, _, _, width, channels = images.shape
    line = max(1, round(width / 16))  # between pictures, where the page is seen
    images = (
        np.broadcast_to(images, (*images.shape[:-1], 3)) if channels == 1 else images
    )
    images = np.concatenate([images, np.ones((*images.shape[:-1], 1))], -1)
    images = np.pad(images, ((0, 0), (0, 0), (0, line), (0, line), (0, 0)))
    stacks = images.reshape(count, -1, width + line, 4)
    head = round(0.3 * width)
    columns = min(_COLUMNS, count)
    rows, tall = -(-count // columns), head + stacks.shape[1]
    board = np.zeros((rows * tall, columns * (width + line), 4))
    figure = Figure(figsize=(12, 12 * board.shape[0] / board.shape[1] + 0.5))
    axes = figure.add_axes((0, 0, 1, 1 - 0.5 / figure.get_figheight()))
    for i, (stack, unit) in enumerate(zip(stacks, units, strict=True)):
        row, column = divmod(i, columns)
        top, left = row * tall, column * (width + line)
        board[top + head : top + tall, left : left + width + line] = stack
        where = {"ha": "left", "va": "bottom", "size": 9}
        axes.text(left, top + head - 0.02 * width, str(unit), **where)
    axes.imshow(board)
    axes.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    return figure
