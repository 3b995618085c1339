"""Concepts that units of pruned networks stand for: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("dissect")
