"""Kills, damages and starves every launcher, and compares what comes of it to the bit.

    python tests/reliability/harness.py --trials=200 --seed=0
    python tests/reliability/harness.py --only=lottery,weights --every

Every launcher's smallest run is made once undisturbed. A trial disturbs another run of
it in one way or several, starts it again until it ends well, and compares all files.
What each trial does follows from the seed, but for the moment of kills by time.
"""

import argparse
import collections
import os
import shutil
import struct
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import damages
import numpy as np
import trials
from trials import TRIALS

SMALL = {
    "lottery": "--rounds=1 --epochs=1 --seeds=0:2 --widths=6,4 --nobarrier "
    "--arms=rewind,random_layerwise",
    "flowgraph": "--run=RUN",
    "circuits": "--network=gates --seeds=0:2 --ablations=zero,mean --num_runs=8 "
    "--learning_steps=2 --finders=exact,eliminate,integrated,hard_concrete",
    "circle_removal": "--num_nodes=4 --seeds=0:3 --epochs=1 --num_points=40 "
    "--num_masks=20 --num_paths=20",
    "node_sweep": "--widths=4 --epochs=2 --keep_probs=0.5,0.75 --num_masks=30 "
    "--num_test_images=50 --num_permutations=4",
    "cartpole": "--environment=CartPole-v0 --seeds=0:2 --widths=4 --steps=12800 "
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
    "reproduce": "--quick --parts=rules",
}
SCENES = (
    "--dataset=scenes --widths=4,4,4 --num_train_images=64 --num_test_images=32 "
    "--batch_size=32 --epochs=1 --rounds=1 --rewind_to=1 --arms=rewind,finetune"
)


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
    status, lines = trials.ended(*trials.start(name, flags, out, count))
    if status:
        raise SystemExit(f"{name} ended with {status}: {lines}; see {out}.txt")
    (folder,) = out.iterdir()
    return SimpleNamespace(
        name=name, flags=flags, out=out, whole=trials.contents(folder), doing="",
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
        trials.check_same(first, folder)
        yield case


def planned(case, count, rng, kinds, every):
    """What is done to one launcher: functions of the folder to do it in."""
    for i in range(count):
        trial = kinds[i % len(kinds)]
        yield trial.__name__, trial, {}
    for number in range(1, case.renames + 1) if every else ():
        yield f"rename {number}", trials.kill_at_renames, {"number": number}
    if every:
        (folder,) = case.out.iterdir()
        for path in trials.files_of(folder):
            for way in damages.WAYS:
                where = {"path": path.relative_to(folder), "way": way}
                yield "damage", trials.damage_whole, where


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
    parser.add_argument("--minutes", type=float, default=1e9, help="a launcher")
    options = parser.parse_args(arguments)
    kinds = [t for t in TRIALS if t.__name__ in options.kinds.split(",")]
    work = Path(tempfile.mkdtemp(prefix="reliability-"))
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": str(work / "compiled"),
                   "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                   "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
                   "TF_CPP_MIN_LOG_LEVEL": "3"}  # fmt: skip
    trials.begin()
    failed, total = [], collections.Counter()
    for case in prepared(work, options.only.split(",")):
        deadline = time.monotonic() + 60 * options.minutes
        rng = np.random.default_rng([options.seed, list(SMALL).index(case.name)])
        for name, trial, where in planned(
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
    return ended(len(failed), work)


def ended(failed, work):
    """What a script ends with: its folder stays where something failed."""
    print(f"{failed} failed" + (f"; see {work}" if failed else ""))
    if not failed:
        shutil.rmtree(work)
    return bool(failed)


def script(main):
    """A script that forks: NumPy must have one thread."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    script(main)
