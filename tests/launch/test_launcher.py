"""The fixture `launcher`: forks end as Python would, and none holds up the next."""

import subprocess
import sys

import pytest


def test_a_fork_ends_as_python_would(launcher, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "'''What it does.'''\n"
        "import atexit, sys\n"
        "import beside\n"
        "atexit.register(print, 'the end')\n"
        "print(__name__, __doc__, sys.modules['__main__'].__doc__, sys.argv)\n"
        "print(sys.stdin.read(), 'on stderr', file=sys.stderr)\n"
        "if sys.argv[1] == 'error':\n"
        "    raise KeyError(beside.__file__)\n"
        "sys.exit({'0': 0, '3': 3}.get(sys.argv[1], sys.argv[1]))\n"
    )
    (tmp_path / "beside.py").touch()
    for argument in ("0", "3", "a message", "error"):
        fork = launcher(tmp_path / "script", argument)
        real = subprocess.run(
            [sys.executable, str(script), argument],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        assert fork.returncode == real.returncode
        assert fork.stdout == real.stdout
        assert fork.stderr.splitlines()[-1] == real.stderr.splitlines()[-1]


def test_a_fork_that_hangs_or_is_killed_ends_alone(launcher, tmp_path):
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(subprocess.TimeoutExpired):
        launcher(tmp_path / "hangs", timeout=1)
    (tmp_path / "killed.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    assert launcher(tmp_path / "killed").returncode == -9


def test_forks_compute(launcher, tmp_path):
    """By a backend of their own: an earlier one would not have read these flags."""
    (tmp_path / "sum.py").write_text(
        "import os\n"
        "os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=3'\n"
        "import jax\n"
        "print(jax.device_count(), jax.numpy.arange(10).sum())\n"
    )
    for _ in range(2):
        assert launcher(tmp_path / "sum").stdout == "3 45\n"
