"""Data sets as plain arrays: toy problems drawn from a key, digits, MNIST and its kin.

Everything comes as `Split(x, y)` (toys) or `Dataset(train, test)` of float32 inputs and
int32 labels, whole and in memory: small data, many cheap experiments. To dissect
networks on there are images with labels of their pixels, `Labeled`: `scenes` draws
them, `broden` reads them in chunks. Nothing is downloaded: `mnist`, `fashion_mnist` and
`cifar10` read the files that people have, and `SOURCES` says where these come from.
"""

from sparsejax.data import augmentations
from sparsejax.data._broden import Broden, broden
from sparsejax.data._broden_writer import write_broden
from sparsejax.data._catalog import NAMES, load
from sparsejax.data._cifar import cifar10
from sparsejax.data._digits import digits
from sparsejax.data._images import Images, image_folder
from sparsejax.data._labels import Labeled, Labels
from sparsejax.data._mnist import fashion_mnist, mnist
from sparsejax.data._planted import PATCHES, Planted, draw_patch, plant
from sparsejax.data._scenes import Scenes, scenes
from sparsejax.data._sources import SOURCES, VARIABLE, Layout, Source
from sparsejax.data._splits import Dataset, Split
from sparsejax.data._textures import Textured, Textures, textures
from sparsejax.data._toys import circle, circle_radius, spiral

__all__ = [
    "NAMES",
    "PATCHES",
    "SOURCES",
    "VARIABLE",
    "Broden",
    "Dataset",
    "Images",
    "Labeled",
    "Labels",
    "Layout",
    "Planted",
    "Scenes",
    "Source",
    "Split",
    "Textured",
    "Textures",
    "augmentations",
    "broden",
    "cifar10",
    "circle",
    "circle_radius",
    "digits",
    "draw_patch",
    "fashion_mnist",
    "image_folder",
    "load",
    "mnist",
    "plant",
    "scenes",
    "spiral",
    "textures",
    "write_broden",
]


def __dir__() -> list[str]:
    return list(__all__)
