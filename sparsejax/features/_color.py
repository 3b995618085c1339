"""Channels that vary together.

In photographs red, green and blue go up and down together. Steps of the same length in
uncorrelated channels, turned into colours by a root of the colours' covariance, move
brightness most, and pictures come out less garish.
"""

import numpy as np
from jaxtyping import ArrayLike, Float

# A root of the covariance of ImageNet's colours, as used for feature visualisation
# since Olah et al., 2017; its longest column has length 1.
PHOTOGRAPHS = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])
PHOTOGRAPHS = PHOTOGRAPHS / np.linalg.norm(PHOTOGRAPHS, axis=0).max()


def decorrelation(
    images: Float[ArrayLike, "... channels"],
) -> Float[np.ndarray, "channels channels"]:
    """The matrix from uncorrelated channels to those of some images.

    M M^T is proportional to the covariance of the channels over all images and places.
    Columns are principal directions, the strongest first and of length 1.

    Args:
        images: any number of them, channels last.

    Returns:
        M: `image @ M.T` has the images' correlations if `image` has none.

    Raises:
        ValueError: if there are fewer than two values of a channel, or none varies.

    Example:
        >>> grey = np.random.default_rng(0).normal(size=(100, 1)) * np.ones(3)
        >>> decorrelation(grey)[:, 0].round(3).tolist()
        [0.577, 0.577, 0.577]
    """
    values = np.asarray(images, np.float64)
    values = values.reshape(-1, values.shape[-1])
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"images have {len(values)} places with finite values in all; expected at "
            "least 2, and no NaNs"
        )
    covariance = np.cov(values.T, bias=True).reshape(2 * values.shape[1:])
    variances, directions = np.linalg.eigh(covariance)
    if not variances[-1] > 0:
        raise ValueError("the images are constant: their channels have no correlation")
    root = directions * np.sqrt(np.maximum(variances, 0) / variances[-1])
    signs = np.where(root.sum(0) < 0, -1.0, 1.0)  # up is brighter
    return (root * signs)[:, ::-1]
