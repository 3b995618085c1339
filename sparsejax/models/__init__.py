"""The shipped networks, as pure functions with named activations."""

from sparsejax.models.modules import convnet as convnet
from sparsejax.models.modules import mlp as mlp
from sparsejax.models.modules import resnet as resnet
from sparsejax.models.resnets import normalize as normalize
from sparsejax.models.variables import Model as Model
from sparsejax.models.variables import is_trainable as is_trainable
from sparsejax.models.variables import linen as linen
