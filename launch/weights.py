"""Weights made visible, unit by unit: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("weights")
