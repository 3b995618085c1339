"""Why a network answers as it does, by every method: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("relevance")
