"""Data sets as plain arrays: toy problems drawn from a key, digits, MNIST and its kin.

Everything comes as `Split(x, y)` (toys) or `Dataset(train, test)` of float32 inputs and
int32 labels, whole and in memory: small data, many cheap experiments. To dissect
networks on there are images with labels of their pixels, `Labelled`: `scenes` draws
them, `broden` reads them in chunks. Nothing is downloaded; `mnist` and `fashion_mnist`
read the files that they are pointed to.
"""

from sparsejax.data._broden import Broden as Broden
from sparsejax.data._broden import broden as broden
from sparsejax.data._broden_writer import write_broden as write_broden
from sparsejax.data._catalogue import NAMES as NAMES
from sparsejax.data._catalogue import load as load
from sparsejax.data._digits import digits as digits
from sparsejax.data._idx import fashion_mnist as fashion_mnist
from sparsejax.data._idx import mnist as mnist
from sparsejax.data._images import VARIABLE as VARIABLE
from sparsejax.data._images import Images as Images
from sparsejax.data._images import cifar10 as cifar10
from sparsejax.data._images import image_folder as image_folder
from sparsejax.data._labels import Labelled as Labelled
from sparsejax.data._labels import Labels as Labels
from sparsejax.data._planted import PATCHES as PATCHES
from sparsejax.data._planted import Planted as Planted
from sparsejax.data._planted import draw_patch as draw_patch
from sparsejax.data._planted import plant as plant
from sparsejax.data._scenes import Scenes as Scenes
from sparsejax.data._scenes import scenes as scenes
from sparsejax.data._splits import Dataset as Dataset
from sparsejax.data._splits import Split as Split
from sparsejax.data._textures import Textured as Textured
from sparsejax.data._textures import Textures as Textures
from sparsejax.data._textures import textures as textures
from sparsejax.data._toys import circle as circle
from sparsejax.data._toys import circle_radius as circle_radius
from sparsejax.data._toys import spiral as spiral
