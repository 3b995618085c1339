"""The smallest part of a network that does what it does: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("circuits")
