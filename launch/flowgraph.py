"""Pruned networks as exact graphs to explore: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("flowgraph")
