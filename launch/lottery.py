"""Lottery tickets of MLPs, convnets and residual networks: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("lottery")
