"""Orders of training and pruning, many networks each: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("prune_order")
