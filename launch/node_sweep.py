"""Node masks on a network, and which units to keep: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("node_sweep")
