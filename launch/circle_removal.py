"""Circle classifiers under all of their node masks: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("circle_removal")
