"""Trials: a launcher in a fork, disturbed, started again, and compared to the bit."""

import gc
import importlib
import json
import os
import pkgutil
import re
import resource
import shutil
import signal
import time
import traceback

import damages
import numpy as np

from sparsejax import runs

LEFT_OUT = (runs.LOG, "DONE")  # DONE has the checksum of config.json, which has a time
REFUSED = "starts the run afresh|it is not a run folder"


class Failed(AssertionError):
    """A trial that ended wrong."""


# ---- Launchers in forks


def begin():
    """Import what launchers import, without threads: they would be lost in forks."""
    import sparsejax.experiments as experiments

    for name in ("_launch", "experiments.subjects", "experiments._study.report"):
        importlib.import_module(f"sparsejax.{name}")
    for module in pkgutil.iter_modules(experiments.__path__):
        if module.name in experiments.EXPERIMENTS:
            importlib.import_module(f"sparsejax.experiments.{module.name}._run")
    gc.freeze()


def start(name, flags, out, disturb=None):
    """A launcher in a fork; its process number, and the file of what it says."""
    said = out.parent / f"{out.name}.txt"
    out.parent.mkdir(parents=True, exist_ok=True)
    said.write_bytes(b"")
    child = os.fork()
    if child:
        return child, said
    try:  # in the fork
        for number, path in enumerate((os.devnull, os.devnull, said)):
            os.dup2(os.open(path, os.O_RDWR | os.O_APPEND), number)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if disturb is not None:
            disturb()
        from sparsejax import _launch

        _launch.main(None, ["sparsejax", name, *flags, f"--out={out}"])
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            os.write(2, f"{end.code}\n".encode())
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        status = 99
    os._exit(status)


def ended(child, said):
    """The exit status, negative for a signal, and the lines that were said."""
    _, status = os.waitpid(child, 0)
    text = said.read_text("utf-8", "replace")
    # XLA's own notes are no lines of ours.
    lines = [line for line in text.splitlines() if re.match("error|interr|Tra", line)]
    return os.waitstatus_to_exitcode(status), lines


def at_rename(number, act, after=False):
    """A disturbance: `act()` before, or after, the nth rename of the process."""

    def disturb():
        rename, count = os.replace, 0

        def replace(*arguments):
            nonlocal count
            count += 1
            if count == number and not after:
                act(arguments[1])
            rename(*arguments)
            if count == number and after:
                act(arguments[1])

        os.replace = replace

    return disturb


def kill(_):
    os.kill(os.getpid(), signal.SIGKILL)


# ---- What is compared


def contents(folder):
    """All that must be the same in two runs, by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        timed = path.name.endswith((".costs.json", "costs.md"))  # CPU-seconds
        if path.name in LEFT_OUT or path.is_dir() or timed:
            continue
        content = path.read_bytes()
        if path.name == "config.json":
            head = json.loads(content)
            del head["about"]  # the time, and the commit
            content = json.dumps(head).encode()
        found[name] = content.replace(os.fsencode(folder.parent), b"OUT")
    return found


def check_same(case, folder):
    """The run is complete, and its files are those of the undisturbed one."""
    if not runs.is_complete(folder):
        raise Failed("it is not complete")
    there = contents(folder)
    if wrong := sorted(there.keys() ^ case.whole.keys()):
        raise Failed(f"other files: {wrong}")
    if wrong := [name for name in there if there[name] != case.whole[name]]:
        raise Failed(f"other bytes: {wrong}")


def finish(case, out, *flags):
    """Start a run again, which must end well, and compare."""
    status, lines = ended(*start(case.name, [*case.flags, *flags], out))
    if status:
        raise Failed(f"it ended with {status}: {lines}")
    (folder,) = out.iterdir()
    check_same(case, folder)


def check_line(status, lines, wanted):
    """A launcher that failed said so in a line."""
    if status != 1 or len(lines) != 1 or not re.search(wanted, lines[0]):
        raise Failed(f"expected a line, {wanted}, got status {status}: {lines}")


# ---- Trials: each disturbs a run in `out`, and ends with `finish`


def kill_at_renames(case, out, rng, number=None):
    for _ in range(1 if number else rng.integers(1, 4)):
        at = number or int(rng.integers(1, case.renames + 1))
        act = at_rename(at, kill, after=bool(rng.integers(2)))
        status, lines = ended(*start(case.name, case.flags, out, act))
        if status not in (0, -signal.SIGKILL):
            raise Failed(f"it ended with {status}: {lines}")
        case.count["kills"] += status != 0
    finish(case, out)


def kill_at_moments(case, out, rng):
    for _ in range(rng.integers(1, 4)):
        number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        child, said = start(case.name, case.flags, out)
        time.sleep(rng.uniform(0, case.seconds))
        os.kill(child, number)
        status, lines = ended(child, said)
        # A signal that comes before the launcher listens ends it as any process.
        if status not in (0, -number, 128 + number):
            raise Failed(f"it ended with {status}: {lines}")
        case.count["kills"] += status != 0
    finish(case, out)


def files_of(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != runs.LOG)


def damage_whole(case, out, rng, path=None, way=None):
    damages.copy(case.out, out)
    (folder,) = out.iterdir()
    files = files_of(folder)
    path = folder / path if path else files[rng.integers(len(files))]
    way = way or str(rng.choice(list(damages.WAYS)))
    case.doing = f"{path.relative_to(folder)}: {way}"
    changed = damages.damage(path, way, rng)
    if changed and path.name != "DONE" and runs.is_complete(folder):
        raise Failed("it is called complete")
    case.count["damages"] += changed
    finish(case, out)


def damage_part(case, out, rng):
    at = int(rng.integers(1, case.renames + 1))
    ended(*start(case.name, case.flags, out, at_rename(at, kill)))
    files = files_of(out)
    if files:
        path = files[rng.integers(len(files))]
        way = str(rng.choice(list(damages.WAYS)))
        case.doing = f"{path.relative_to(out)}: {way}, after rename {at}"
        case.count["damages"] += damages.damage(path, way, rng)
        if path.name == "config.json":  # nothing says what it was
            status, lines = ended(*start(case.name, case.flags, out))
            if status:
                check_line(status, lines, f"{REFUSED}|another config|Is a directory")
                shutil.rmtree(out)
    finish(case, out)


def fill_disk(case, out, rng):
    """No file may be longer than some, or none can be written any more."""
    largest = max(map(len, case.whole.values()))
    limit = int(np.exp(rng.uniform(np.log(200), np.log(largest))))
    if rng.integers(2):

        def full(_):
            raise OSError(28, "No space left on device")

        disturb = at_rename(int(rng.integers(1, case.renames + 1)), full)
        wanted = "No space left"
    else:

        def disturb():
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        wanted = "File too large"
    status, lines = ended(*start(case.name, case.flags, out, disturb))
    check_line(status, lines, wanted)
    if list(out.glob("*/DONE")):
        raise Failed("it is called complete")
    if left := [p for p in out.rglob(".*") if p.is_file()]:
        raise Failed(f"it leaves {left}")
    case.count["full disks"] += 1
    finish(case, out)


def delete_folder(case, out, rng):
    def remove(_):
        for folder in out.iterdir():
            shutil.rmtree(folder)

    at = int(rng.integers(1, case.renames + 1))
    act = at_rename(at, remove, after=bool(rng.integers(2)))
    status, lines = ended(*start(case.name, case.flags, out, act))
    if status:
        check_line(status, lines, "was deleted|No such file")
    if any(not (p.parent / "config.json").exists() for p in out.rglob("DONE")):
        raise Failed("a DONE without a config")
    case.count["deletions"] += 1
    finish(case, out)


def start_twice(case, out, rng):
    at = int(rng.integers(2, case.renames + 1))
    stop = at_rename(at, lambda _: os.kill(os.getpid(), signal.SIGSTOP))
    child, said = start(case.name, case.flags, out, stop)
    os.waitpid(child, os.WUNTRACED)
    try:
        second = ended(*start(case.name, case.flags, out))
        check_line(*second, rf"in use by process {child} on .* since")
    finally:
        os.kill(child, signal.SIGCONT)
    status, lines = ended(child, said)
    if status:
        raise Failed(f"the first ended with {status}: {lines}")
    case.count["second starts"] += 1
    finish(case, out)


TRIALS = (kill_at_renames, kill_at_moments, damage_whole, damage_part, fill_disk,
          delete_folder, start_twice)  # fmt: skip
