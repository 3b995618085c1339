"""CartPole agents, pruned until they can be read: `--help` says how."""

from sparsejax import _launch

if __name__ == "__main__":
    _launch.main("cartpole")
