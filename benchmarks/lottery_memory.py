"""Peak memory of a lottery run on MNIST: of its training, its flow graph, its report.

    python benchmarks/lottery_memory.py DATA_DIR

DATA_DIR holds mnist/. Linux only: peaks are read from /proc and reset between phases.
"""

import sys
import tempfile
from pathlib import Path

from sparsejax.experiments import lottery
from sparsejax.experiments.lottery import _run, report


def peak():
    """The largest resident memory in MB since the last call."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(line.split()[1]) // 1024


def measured(module, name, before, after):
    function = getattr(module, name)

    def call(*args, **kwargs):
        if before:
            print(f"{before}: {peak():,} MB", flush=True)
        result = function(*args, **kwargs)
        print(f"{after}: {peak():,} MB", flush=True)
        return result

    setattr(module, name, call)


def main(data_dir):
    measured(_run, "_flow_graph", "training", "flow graph")
    measured(report, "write", None, "report")
    config = lottery.Config(
        dataset="mnist", rounds=2, epochs=1, fraction=0.857, final_count=539
    )
    with tempfile.TemporaryDirectory() as folder:
        lottery.run(config, Path(folder) / "run", data_dir=data_dir)


if __name__ == "__main__":
    main(sys.argv[1])
