"""Several processes, on one host or on many, as one run.

Each is started with the same command, joins the others before JAX first looks for
devices, and computes its part of what is split over a mesh of all devices. Process 0
alone reads and writes the run folder: the others are sent what is there and go on in a
private copy of it, so that all see the same and decide the same. The end of one is the
end of all, each in one line; what is in the folder is gone on with.
"""

import atexit
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sparsejax import _interrupts

FLAGS = {
    "distributed": "Several processes as one run, found by the cluster: Slurm, Open "
    "MPI, Kubernetes (with its Python package) or Cloud TPUs.",
    "coordinator_address": "Address of process 0, HOST:PORT, where no cluster tells "
    "it; all processes are started with the same one.",
    "num_processes": "Number of processes of the run.",
    "process_id": "Number of this process; process 0 alone needs the run folder.",
}
_SILENCE = 60  # seconds without a sign of life after which a process is dead
_JOIN = 300  # seconds to wait for the others at the start
_LEAVE = 300  # and at the end
_CHUNK = 1 << 24  # bytes sent at a time
_OTHERS = re.compile(
    r"gloo|nccl|mpi_|peer|heartbeat|coordination|barrier|socket|connection|UNAVAILABLE"
    r"|DEADLINE|preempt",
    re.IGNORECASE,
)
_RUNTIME = ("JaxRuntimeError", "XlaRuntimeError")
_STATUS = re.compile("[A-Z_]+: ")  # how they begin, also as ValueErrors of results
_AGAIN = "start all of them again with the same command to resume"
_watcher: list[subprocess.Popen] = []  # of this process, once it has joined
_logs: list[Path] = []
_WATCH = "import sys; sys.stdin.readline() or print(sys.argv[1], file=sys.stderr)"


def are_several() -> bool:
    """Whether this process has joined others."""
    return bool(_watcher)


def is_first() -> bool:
    """Whether this process is the one that reads and writes the run folder."""
    if not are_several():
        return True
    import jax

    return jax.process_index() == 0


def join(
    distributed: bool, address: str | None, count: int | None, number: int | None
) -> None:
    """Join the other processes, if there are others; before JAX looks for devices.

    Args:
        distributed: whether a cluster is asked what is not given.
        address: of process 0, as HOST:PORT.
        count: number of processes.
        number: of this one.

    Raises:
        ValueError: for what is missing, or cannot be.
    """
    given = {"coordinator_address": address, "num_processes": count,
             "process_id": number}  # fmt: skip
    if not distributed and all(value is None for value in given.values()):
        return
    _check(distributed, given)
    if count == 1:
        return
    log = _quieted()
    import jax

    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is ours
    try:
        jax.distributed.initialize(
            coordinator_address=address,
            num_processes=count,
            process_id=number,
            cluster_detection_method=None if distributed else "deactivate",
            initialization_timeout=_JOIN,
            heartbeat_timeout_seconds=_SILENCE,
            shutdown_timeout_seconds=_LEAVE,
        )
    except ValueError as error:
        Path(log).unlink(missing_ok=True)
        raise ValueError(
            f"--distributed finds no cluster that tells this process its place "
            f"({error}); pass --coordinator_address, --num_processes and --process_id"
        ) from None
    except RuntimeError as error:
        Path(log).unlink(missing_ok=True)
        raise ValueError(
            f"the other processes were not there within {_JOIN} seconds, or cannot be "
            f"reached at {address or 'the address that the cluster says'} ({error})"
        ) from None
    _watch(jax.process_index(), log)


def _check(distributed: bool, given: dict[str, Any]) -> None:
    address, count, number = given.values()
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if missing and not distributed:
        raise ValueError(
            f"{', '.join(missing)} must be given too, or --distributed, where a "
            "cluster tells it"
        )
    if address is not None and not re.fullmatch(r".+:\d+", address):
        raise ValueError(
            f"coordinator_address must be HOST:PORT of process 0, got {address!r}"
        )
    if count is not None and count < 1:
        raise ValueError(f"num_processes must be 1 or more, got {count}")
    if number is not None and not 0 <= number < (count or number + 1):
        raise ValueError(f"process_id must be in [0, {count}), got {number}")


def _quieted() -> str:
    """Have a file take what is written past Python, as by JAX on its connections."""
    sys.stdout.flush()
    sys.stderr.flush()
    number, path = tempfile.mkstemp(prefix="sparsejax-", suffix=".log")
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        own = os.dup(descriptor)
        setattr(sys, name, os.fdopen(own, "w", buffering=1, errors="replace"))
        os.dup2(number, descriptor)
        if descriptor == 2:
            _interrupts.errors[0] = own
    os.close(number)
    return path


def _watch(number: int, log: str) -> None:
    """Have a line said if JAX ends this process, since another is dead."""
    line = (
        f"error: process {number} of the run is dead, killed or ended by JAX since "
        f"another is; {_AGAIN} (what JAX said is in {log})"
    )
    watcher = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", _WATCH, line],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=sys.stderr.fileno(),
        start_new_session=True, text=True,
    )  # fmt: skip
    _watcher.append(watcher)
    _logs.append(Path(log))
    _interrupts.then.append(_unwatch)
    atexit.register(_unwatch)


def _unwatch() -> None:
    """Tell the watcher that this process ends by itself."""
    for log in _logs:
        log.unlink(missing_ok=True)
    stdin = _watcher[0].stdin
    with contextlib.suppress(OSError, ValueError):
        if stdin is not None:
            stdin.write("ended\n")
            stdin.close()


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Around what a launcher does: an end for all, at once where one has failed."""
    try:
        yield
        if are_several():
            import jax

            jax.distributed.shutdown()  # waits for the others
    except BaseException as error:
        if not are_several():
            raise
        status = _told_end(error)
        _unwatch()
        # JAX would wait for the others, which wait for this one.
        os._exit(status)


def _told_end(error: BaseException) -> int:
    """Say the line that ends this process; its exit status."""
    if _interrupts.stopped:
        return _interrupts.STATUS[_interrupts.stopped[0]]
    is_end = isinstance(error, SystemExit)
    code = error.code if is_end else f"error: the end of the run: {error}"
    with contextlib.suppress(OSError, ValueError):
        if isinstance(code, str):
            print(code, file=sys.stderr, flush=True)
        sys.stdout.flush()
    return code if isinstance(code, int) else int(code is not None)


def line(error: Exception) -> str | None:
    """What is to be said of an error that the end of another process has caused."""
    if not are_several():
        return None
    is_of_jax = type(error).__name__ in _RUNTIME or _STATUS.match(str(error))
    if not is_of_jax or not _OTHERS.search(str(error)):
        return None
    import jax

    return (
        f"error: process {jax.process_index()} has lost another process of the run, "
        f"which has ended or cannot be reached; {_AGAIN}"
    )


def same(what: Any) -> None:
    """Raise a `ValueError` unless all processes are to do the same.

    Args:
        what: JSON-like, what this one is to do.
    """
    if not are_several():
        return
    own = json.dumps(what, sort_keys=True, default=str)
    if told(own.encode()).decode() != own:
        raise ValueError(
            "this process is not to do what process 0 is: flags, versions or the "
            "network that is looked at differ"
        )


def first(act: Callable[[], Any]) -> None:
    """Have process 0 do something; all raise what it raises."""
    failure = None
    if is_first():
        try:
            act()
        except Exception as error:
            failure = error
    if not are_several():
        if failure is not None:
            raise failure
        return
    message = told(b"" if failure is None else str(failure).encode() or b"?")
    if failure is not None:
        raise failure
    if message:
        raise ValueError(f"process 0 cannot begin: {message.decode()}")


def told(content: bytes) -> bytes:
    """What process 0 has, in every process."""
    import numpy as np
    from jax.experimental.multihost_utils import broadcast_one_to_all

    if not are_several():
        return content
    parts = np.array(divmod(len(content), 1 << 30), np.int32)
    high, low = broadcast_one_to_all(parts).tolist()
    size = (high << 30) + low
    length = min(_CHUNK, 1 << max(size - 1, 1).bit_length())
    pieces = []
    for start in range(0, size, length):
        piece = np.zeros(length, np.uint8)
        if is_first():
            own = np.frombuffer(content, np.uint8)[start : start + length]
            piece[: len(own)] = own
        pieces.append(np.asarray(broadcast_one_to_all(piece)).tobytes())
    return b"".join(pieces)[:size]


@contextlib.contextmanager
def place(folder: Path, *, empty: bool = False) -> Iterator[Path]:
    """The folder for this process to fill: of all but the first a private copy.

    Args:
        folder: of the run, as process 0 sees it.
        empty: whether what is there is to be removed, and need not be copied.
    """
    if not are_several():
        yield folder
        return
    names = [] if empty or not folder.is_dir() or not is_first() else _files(folder)
    names = json.loads(told(json.dumps(names).encode()))
    root = None if is_first() else Path(tempfile.mkdtemp(prefix="sparsejax-"))
    try:
        for name in names:
            content = told((folder / name).read_bytes() if root is None else b"")
            if root is not None:
                path = root / folder.name / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        yield folder if root is None else root / folder.name
    finally:
        if root is not None:
            shutil.rmtree(root, ignore_errors=True)


def _files(folder: Path) -> list[str]:
    """Files of a run, but for temporary ones and locks."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )
