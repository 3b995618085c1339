"""Every number of the source documents, made again: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("reproduce")
