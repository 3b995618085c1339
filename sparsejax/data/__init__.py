"""Data sets as plain arrays: toy problems drawn from a key, digits, MNIST and its kin.

Everything comes as `Split(x, y)` (toys) or `Dataset(train, test)` of float32 inputs and
int32 labels, whole and in memory: small data, many cheap experiments. To dissect
networks on there are images with labels of their pixels, `Labeled`: `scenes` draws
them, `broden` reads them in chunks. Nothing is downloaded; `mnist` and `fashion_mnist`
read the files that they are pointed to.
"""

from sparsejax.data.broden import Broden as Broden
from sparsejax.data.broden import broden as broden
from sparsejax.data.broden_writer import write_broden as write_broden
from sparsejax.data.catalogue import NAMES as NAMES
from sparsejax.data.catalogue import load as load
from sparsejax.data.digits import digits as digits
from sparsejax.data.idx import fashion_mnist as fashion_mnist
from sparsejax.data.idx import mnist as mnist
from sparsejax.data.images import VARIABLE as VARIABLE
from sparsejax.data.images import Images as Images
from sparsejax.data.images import cifar10 as cifar10
from sparsejax.data.images import image_folder as image_folder
from sparsejax.data.labels import Labeled as Labeled
from sparsejax.data.labels import Labels as Labels
from sparsejax.data.planted import Planted as Planted
from sparsejax.data.planted import plant as plant
from sparsejax.data.scenes import Scenes as Scenes
from sparsejax.data.scenes import scenes as scenes
from sparsejax.data.splits import Dataset as Dataset
from sparsejax.data.splits import Split as Split
from sparsejax.data.textures import Textured as Textured
from sparsejax.data.textures import Textures as Textures
from sparsejax.data.textures import textures as textures
from sparsejax.data.toys import circle as circle
from sparsejax.data.toys import circle_radius as circle_radius
from sparsejax.data.toys import spiral as spiral
