"""Strict settings for every test: dtypes never promote silently, keys never repeat.

And a headless browser, for the tests of pages; and launchers that start quickly.
"""

import ctypes
import gc
import html
import itertools as it
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import jax
import jaxtyping
import numpy as np
import pytest
from matplotlib.ticker import FixedLocator, NullLocator

# For processes of their own, with several devices or one of several.
collect_ignore = ["devices.py", "launch/launches.py", "meshes.py"]
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("SPARSEJAX_PROGRAMS", "off")  # nothing in the user's home
DEFAULTS = os.environ.get("SPARSEJAX_XLA_DEFAULTS", "0") not in ("", "0")
if not DEFAULTS:  # `make test-defaults` leaves XLA as users have it
    # Most programs run once: compiling them is what takes time, also in launchers.
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    if jax.__version_info__ < (0, 11):  # later XLA ends the process at this flag
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"--xla_cpu_use_fusion_emitters=false {flags}"
    jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_debug_key_reuse", True)

_jaxtyped = jaxtyping.jaxtyped


def jaxtyped(fn=None, *, typechecker):
    """jaxtyping's decorator, for what has annotations.

    It comes to inner functions at every call of the outer one; checking nothing of
    them was a fourteenth of the time of the tests.
    """
    if fn is None:
        return lambda fn: jaxtyped(fn, typechecker=typechecker)
    if isinstance(fn, types.FunctionType) and not fn.__annotations__:
        return fn
    return _jaxtyped(fn, typechecker=typechecker)


jaxtyping.jaxtyped = jaxtyped  # which is what its import hook looks up


def pytest_collection_modifyitems(items):
    """Examples in docstrings are what users run: they run as users have XLA, too."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker("defaults")


def pytest_collection_finish():
    gc.freeze()  # what is imported stays: no collection need look at it


def _resident():
    """Bytes of memory in use, 0 where the system does not say."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


IN_USE = 300e6  # bytes, when programs were last let go


@pytest.fixture(scope="module", autouse=True)
def let_go():
    """Compiled programs take a megabyte or two each: after some files they go."""
    global IN_USE
    yield
    if _resident() > IN_USE + 1e9:
        gc.unfreeze()
        jax.clear_caches()
        gc.collect()
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # it keeps what is freed
            libc.malloc_trim(0)
        IN_USE = _resident()
    gc.freeze()


@pytest.fixture
def getkey():
    """A function that returns a fresh key at every call."""
    counter = it.count()
    return lambda: jax.random.key(next(counter))


@pytest.fixture(scope="module")
def float64():
    """Float64 in a whole file."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _axes_of(figure):
    """Every axis that is shown, with its labels of ticks that are in sight."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axes.axison and axis.get_visible():
                low, high = sorted(axis.get_view_interval())
                near = 1e-6 * (high - low)
                ticks = [t for t in axis.get_major_ticks()
                         if low - near <= t.get_loc() <= high + near]  # fmt: skip
                yield axis, [t.label1.get_text() or t.label2.get_text() for t in ticks]


def _check_axes(figure):
    for axis, labels in _axes_of(figure):
        fixed = isinstance(axis.get_major_locator(), FixedLocator | NullLocator)
        name = axis.get_label_text()
        if not fixed:  # categories, or none by choice
            assert len(labels) >= 2, (name, labels)
            assert len(labels) <= 15, (name, labels)
            assert len(set(labels)) == len(labels) or not any(labels), (name, labels)
        shares = [float(t[:-1]) for t in labels if t.endswith("%")]
        assert all(0 <= share <= 100 for share in shares), (name, labels)
        assert all(len(text) < 12 for text in labels if not fixed), (name, labels)


@pytest.fixture(scope="session")
def check_axes():
    """A check of what the axes of every figure keep to, however little they show."""
    return _check_axes


# A window is at least 500 pixels wide; a frame in it can be narrower. Several frames
# are one start of the browser.
FRAMES = """<!doctype html>
<pre id="found">null</pre>
<script>
const frames = WIDTHS.map((width) => {
  const frame = document.createElement("iframe");
  Object.assign(frame, { width, height: 900, src: "PAGE", style: "border: 0" });
  document.body.append(frame);
  return frame;
});
const reports = frames.map(() => null);
onmessage = (event) => {
  const at = frames.findIndex((frame) => frame.contentWindow === event.source);
  reports[at] = JSON.parse(event.data);
  if (!reports.includes(null))
    document.getElementById("found").textContent = JSON.stringify(reports);
};</script>
"""


@pytest.fixture(scope="session")
def read_page(tmp_path_factory):
    """A function from a page's address to its DOM and to what it reported.

    A report is JSON in an element "found" that the page's own script leaves, or, below
    500 pixels of width, sends to its parent. Of several widths it is a list.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"needs a browser: none of {', '.join(names)} is installed")

    def read(address, reports=True, width=1400):
        several = isinstance(width, list)
        widths = width if several else [width]
        framed = several or width < 500
        if framed:
            outer = tmp_path_factory.mktemp("frame") / "frame.html"
            inner = FRAMES.replace("PAGE", address).replace("WIDTHS", str(widths))
            outer.write_text(inner, encoding="utf-8")
            address = outer.as_uri()
        for budget in (4000, 40000):  # a busy machine may need the second
            profile = tmp_path_factory.mktemp("profile")
            command = [
                browser, "--headless", "--no-sandbox", "--disable-gpu",
                "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-sync", "--disable-component-update",
                f"--user-data-dir={profile}", f"--virtual-time-budget={budget}",
                f"--window-size={max(widths)},900", "--dump-dom", address,
            ]  # fmt: skip
            run = subprocess.run(command, capture_output=True, timeout=120, check=True)
            dom = run.stdout.decode("utf-8")
            found = re.search(r'<pre id="found"[^>]*>(.*?)</pre>', dom, re.DOTALL)
            report = json.loads(html.unescape(found[1])) if found else None
            if report is not None or not reports:
                break
        return dom, report[0] if framed and report and not several else report

    return read


@pytest.fixture(scope="session")
def launcher(tmp_path_factory):
    """A function from a launcher's name and flags to how it ended.

    It runs in a fork of a process in which all is imported that launchers import.
    """
    tests, folder = Path(__file__).parent, tmp_path_factory.mktemp("launcher")
    stdout, stderr = folder / "stdout", folder / "stderr"
    command = [sys.executable, str(tests / "launch" / "forks.py")]
    single = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # NumPy would start threads
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=single
    ) as forks:

        def launch(name, *flags, timeout=300):
            script = str(tests.parent / "launch" / f"{name}.py")
            request = [script, flags, str(stdout), str(stderr), timeout]
            print(json.dumps(request), file=forks.stdin, flush=True)
            answer = forks.stdout.readline()
            if not answer:
                raise RuntimeError(f"{command} ended: its stderr says why")
            if int(answer) == -signal.SIGALRM:
                raise subprocess.TimeoutExpired([script, *flags], timeout)
            return subprocess.CompletedProcess(
                [script, *flags], int(answer), stdout.read_text(), stderr.read_text()
            )

        yield launch
