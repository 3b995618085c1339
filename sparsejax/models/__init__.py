"""The shipped networks, as pure functions with named activations."""

from sparsejax.models.modules import Model as Model
from sparsejax.models.modules import convnet as convnet
from sparsejax.models.modules import is_trainable as is_trainable
from sparsejax.models.modules import linen as linen
from sparsejax.models.modules import mlp as mlp
from sparsejax.models.modules import resnet as resnet
