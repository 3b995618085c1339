"""Networks trained on where relevance lies: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("right_reasons")
