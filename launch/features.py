"""Pictures of what units respond to: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("features")
