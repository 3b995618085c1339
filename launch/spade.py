"""Pruning a network for single images, and explaining these: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("spade")
