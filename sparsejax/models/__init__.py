"""The shipped networks, as pure functions with named activations."""

from sparsejax.models._convolution import convolve as convolve
from sparsejax.models._modules import convnet as convnet
from sparsejax.models._modules import mlp as mlp
from sparsejax.models._modules import resnet as resnet
from sparsejax.models._resnets import normalize as normalize
from sparsejax.models._variables import Model as Model
from sparsejax.models._variables import is_trainable as is_trainable
from sparsejax.models._variables import linen as linen
