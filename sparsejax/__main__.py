"""The command line: `python -m sparsejax NAME --flags`, as `sparsejax NAME --flags`."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main()
