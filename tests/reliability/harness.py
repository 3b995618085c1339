"""Kills, damages and starves every launcher, and compares what comes of it to the bit.

    python tests/reliability/harness.py --trials=200 --seed=0
    python tests/reliability/harness.py --only=lottery,weights --every

Every launcher's smallest run is made once undisturbed. A trial disturbs another run of
it in one way or several, starts it again until it ends well, and compares all files.
What each trial does follows from the seed, but for the moment of kills by time.
"""

import argparse
import collections
import gc
import json
import os
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

import damages
import numpy as np

from sparsejax import runs

ROOT = Path(__file__).parents[2]
SMALL = {
    "lottery": "--rounds=2 --epochs=1 --seeds=0:2 --widths=6,4 --nobarrier "
    "--arms=rewind,random_layerwise",
    "flowgraph": "--run=RUN",
    "circle_removal": "--num_nodes=4 --seeds=0:3 --epochs=1 --num_points=40 "
    "--num_masks=20 --num_paths=20",
    "node_sweep": "--widths=4 --epochs=2 --keep_probs=0.5,0.75 --num_masks=30 "
    "--num_test_images=50 --num_permutations=4",
    "cartpole": "--environment=CartPole-v0 --seeds=0:2 --widths=4 --steps=6400 "
    "--rounds=2 --min_return=10 --num_episodes=5 --num_walkers=2",
    "prune_order": "--widths=6,5 --seeds=0:3 --learning_rates=0.1 --num_points=40 "
    "--num_test_points=60 --steps=20 --num_frames=3 --selections=std",
    "relevance": "--run=RUN --test_images=0:2 --num_test_images=3 --levels=0 "
    "--methods=gradient,blame_the_bias",
    "right_reasons": "--losses=none,squared --strengths=1 --seeds=0,2 --widths=8 "
    "--steps=12 --batch_size=16",
    "spade": "--dataset=mnist --widths=4,4,6 --num_blocks=1 --seeds=0 "
    "--num_train_images=256 --epochs=3 --share=0.5 --learning_rate=0.1 "
    "--num_test_images=2 --num_calibration_images=1 --num_variations=2 "
    "--densities=0.5 --num_pictures=0 --num_planes=1 --plane_epochs=1 --data_dir=DATA",
    "dissect": "--run=SCENES --num_scenes=6 --quantile=0.05 --rotations=1 "
    "--node=layer2_0",
    "features": "--run=SCENES --nodes=stem,layer1_0 --units=0:2 --steps=2",
    "weights": "--run=RUN --units=0:2 --steps=2 --places=1",
}
SCENES = (
    "--dataset=scenes --widths=4,4,4 --num_train_images=64 --num_test_images=32 "
    "--batch_size=32 --epochs=1 --rounds=1 --rewind_to=1 --arms=rewind,finetune"
)
LEFT_OUT = (runs.LOG, "DONE")  # DONE has the checksum of config.json, which has a time
REFUSED = "starts the run afresh|it is not a run folder"


class Failed(AssertionError):
    """A trial that ended wrong."""


# ---- Launchers in forks


def begin():
    """Import what launchers import, without threads: they would be lost in forks."""
    import importlib
    import pkgutil

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
        if path.name in LEFT_OUT or path.is_dir():
            continue
        content = path.read_bytes()
        if path.name == "config.json":
            head = json.loads(content)
            del head["about"]["started"]
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


def _files(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != runs.LOG)


def damage_whole(case, out, rng, path=None, way=None):
    damages.copy(case.out, out)
    (folder,) = out.iterdir()
    files = _files(folder)
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
    files = _files(out)
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


# ---- All of it


def digits(folder):
    """Files as MNIST's, of four classes that are told by the quarter that is bright."""
    rng = np.random.default_rng(0)
    (folder / "mnist").mkdir(parents=True)
    classes = np.array([3, 5, 1, 7], np.uint8)
    for part, count in (("train", 256), ("t10k", 96)):
        quarter = rng.integers(0, 4, count)
        images = rng.integers(0, 60, (count, 28, 28), np.uint8)
        for image, (row, column) in zip(images, 14 * np.c_[quarter // 2, quarter % 2]):
            image[row : row + 14, column : column + 14] += 100
        labels = classes[quarter]
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            file = folder / "mnist" / f"{part}-{name}-ubyte"
            file.write_bytes(head + array.tobytes())


def undisturbed(name, flags, out):
    """A run, how long it takes, how many files it renames, and what it leaves."""
    out.parent.mkdir(parents=True, exist_ok=True)
    counted = out.parent / "renames"
    counted.write_bytes(b"")

    def count():
        rename = os.replace

        def replace(*arguments):
            rename(*arguments)
            with open(counted, "ab") as file:
                file.write(b".")

        os.replace = replace

    began = time.monotonic()
    status, lines = ended(*start(name, flags, out, count))
    if status:
        raise SystemExit(f"{name} ended with {status}: {lines}; see {out}.txt")
    (folder,) = out.iterdir()
    return SimpleNamespace(
        name=name, flags=flags, out=out, whole=contents(folder), doing="",
        renames=counted.stat().st_size, seconds=time.monotonic() - began,
        count=collections.Counter(),
    )  # fmt: skip


def prepared(work, only):
    """The undisturbed run of every launcher."""
    digits(work / "data")
    places = {"DATA": work / "data"}
    for name, flags in (("RUN", SMALL["lottery"]), ("SCENES", SCENES)):
        if any(name in SMALL[one].split("=", 1)[1] for one in only):
            undisturbed("lottery", flags.split(), work / name)
            (places[name],) = (work / name).iterdir()
    for name in only:
        flags = SMALL[name]
        for word, place in places.items():
            flags = flags.replace(f"={word}", f"={place}")
        first = undisturbed(name, flags.split(), work / "whole" / name)
        # Compiled programs are on file by now: the time is that of other runs.
        case = undisturbed(name, flags.split(), work / "again" / name)
        (folder,) = case.out.iterdir()
        check_same(first, folder)
        yield case


def trials(case, count, rng, kinds, every):
    """What is done to one launcher: functions of the folder to do it in."""
    for i in range(count):
        trial = kinds[i % len(kinds)]
        yield trial.__name__, trial, {}
    for number in range(1, case.renames + 1) if every else ():
        yield f"rename {number}", kill_at_renames, {"number": number}
    if every:
        (folder,) = case.out.iterdir()
        for path in _files(folder):
            for way in damages.WAYS:
                where = {"path": path.relative_to(folder), "way": way}
                yield "damage", damage_whole, where


def told(count):
    return ", ".join(f"{n} {what}" for what, n in count.items())


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=len(TRIALS), help="a launcher")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(SMALL))
    parser.add_argument("--kinds", default=",".join(t.__name__ for t in TRIALS))
    every = "also every rename, and every file in every way"
    parser.add_argument("--every", action="store_true", help=every)
    parser.add_argument("--minutes", type=float, default=1e9)
    options = parser.parse_args(arguments)
    kinds = [t for t in TRIALS if t.__name__ in options.kinds.split(",")]
    deadline = time.monotonic() + 60 * options.minutes
    work = Path(tempfile.mkdtemp(prefix="reliability-"))
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": str(work / "compiled"),
                   "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                   "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
                   "TF_CPP_MIN_LOG_LEVEL": "3"}  # fmt: skip
    begin()
    failed, total = [], collections.Counter()
    for case in prepared(work, options.only.split(",")):
        rng = np.random.default_rng([options.seed, list(SMALL).index(case.name)])
        for name, trial, where in trials(
            case, options.trials, rng, kinds, options.every
        ):
            if time.monotonic() > deadline:
                break
            out = work / "trial" / case.name
            shutil.rmtree(out, ignore_errors=True)
            case.doing, case.count["trials"] = "", case.count["trials"] + 1
            try:
                trial(case, out, rng, **where)
            except Exception as error:
                failed.append(f"{case.name}, {name}, {case.doing}: {error}")
                print(f"FAILED {failed[-1]}", flush=True)
                damages.copy(out, work / "failed" / f"{case.name}_{len(failed)}")
        total += case.count
        about = f"{case.renames} renames, {case.seconds:.1f} s a run"
        print(f"{case.name}: {told(case.count)}; {about}", flush=True)
    print(f"in all: {told(total)}")
    print(f"{len(failed)} failed" + (f"; see {work}" if failed else ""))
    if not failed:
        shutil.rmtree(work)
    return bool(failed)


if __name__ == "__main__":
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # NumPy would start threads
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    sys.exit(main(sys.argv[1:]))
