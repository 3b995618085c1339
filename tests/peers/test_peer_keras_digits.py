"""The example of a Keras model: pruned, trained, explained, drawn, written back."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "keras_digits.py"


def test_a_keras_model_goes_all_the_way(tmp_path):
    pytest.importorskip("keras", reason="needs the extra 'zoo'")
    assert len(SCRIPT.read_text().splitlines()) <= 40
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": path}
    run = subprocess.run(
        [sys.executable, str(SCRIPT)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    trained, *rounds, explained, back = run.stdout.splitlines()
    accuracies = [float(line.split()[-1]) for line in (trained, *rounds, back)]
    assert min(accuracies) > 0.94
    assert accuracies[-1] == accuracies[-2] >= accuracies[0] - 0.01
    assert [int(line.split()[0]) for line in rounds] == [808, 606, 454, 340]
    logit, pixels, lost = map(float, re.findall(r"-?\d[\de.+-]*", explained))
    assert 0 < pixels < logit and abs(lost) < 1e-5 * logit
    page = (tmp_path / "keras_digits.html").read_text(encoding="utf-8")
    assert "hidden:post" in page and "conv:post" in page
