"""Runs divided into shards, and merged: the same as the undivided ones."""

import importlib

import numpy as np
import pytest

from sparsejax import runs
from sparsejax.experiments._study import shares

SMALL = {
    "lottery": ["--rounds=2", "--epochs=1", "--widths=6", "--seeds=0:3",
                "--num_train_images=200", "--nobarrier",
                "--arms=rewind,random_layerwise"],
    "node_sweep": ["--widths=4", "--epochs=1", "--num_masks=20",
                   "--keep_probs=0.25,0.5,0.75", "--num_test_images=50",
                   "--num_permutations=4"],
    "circle_removal": ["--num_nodes=4", "--seeds=0:3", "--epochs=1",
                       "--num_points=40", "--num_masks=20", "--num_paths=20"],
    "right_reasons": ["--losses=none,squared", "--strengths=1", "--seeds=0:3",
                      "--widths=8", "--steps=12", "--batch_size=16"],
}  # fmt: skip


def started(command_line, name, flags, out, shard=None):
    more = [] if shard is None else [f"--shard={shard}"]
    command_line(name, *flags, *more, f"--out={out}")


def merged(folders, *flags):
    from sparsejax import _merge

    _merge.main(["merge", *map(str, folders), *flags])


def check_alike(found, expected):
    assert runs.is_complete(found)
    names = [
        sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
        for root in (found, expected)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        if name.endswith(".npz"):
            one, other = (runs.read_arrays(root / name) for root in (found, expected))
            assert one.keys() == other.keys()
            for key, array in other.items():
                if array.dtype.kind == "f":
                    np.testing.assert_allclose(one[key], array, rtol=1e-3, atol=1e-5)
                else:
                    np.testing.assert_array_equal(one[key], array)
    records = [runs.read_metrics(root) for root in (found, expected)]
    assert [list(r) for r in records[0]] == [list(r) for r in records[1]]
    for record, other in zip(*records, strict=True):
        same = {k: v for k, v in other.items() if isinstance(v, int | str)}
        assert {key: record[key] for key in same} == same


def undivided_and_merged(name, command_line, tmp_path):
    flags = SMALL[name]
    started(command_line, name, flags, tmp_path / "whole")
    for i in range(2):
        started(command_line, name, flags, tmp_path / "shards", f"{i}/2")
    folders = sorted((tmp_path / "shards").iterdir(), reverse=True)
    assert len(folders) == 2
    merged(folders, f"--out={tmp_path / 'merged'}")
    (whole,), (found,) = ((tmp_path / n).iterdir() for n in ("whole", "merged"))
    assert found.name == whole.name
    check_alike(found, whole)
    return folders, found


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_merged_shards_are_the_undivided_run(name, command_line, tmp_path, capsys):
    folders, found = undivided_and_merged(name, command_line, tmp_path)
    merged(folders, f"--out={tmp_path / 'merged'}")  # again
    assert f"{found} is complete" in capsys.readouterr().out
    with pytest.raises(ValueError, match="several of the runs have (seeds|keep_pr)"):
        merged([folders[0], folders[1], folders[0]])


def parts(tmp_path, name, arrays):
    """Folders of runs with some arrays, as `Part`s."""
    found = []
    for i, (entries, files) in enumerate(arrays):
        folder = tmp_path / f"part_{i}"
        for file, values in files.items():
            runs.write_arrays(folder / file, values)
        runs.write_metrics(folder, [{"seed": s, "of": name} for s in entries])
        config = spec(name).Config(seeds=entries)
        found.append(shares.Part(folder, config, spec(name).shares(config)))
    return found


def test_axes_over_seeds_are_in_their_order(tmp_path):
    """Also where a run's seeds lie between those of another."""
    both = [
        (seeds, {"rewind.npz": {"a": np.array(seeds)[:, None]},
                 "level_01/rewind.npz": {"a": 2 * np.array(seeds)}})
        for seeds in ((0, 5), (3, 7))
    ]  # fmt: skip
    shares.write(tmp_path / "whole", parts(tmp_path, "lottery", both))
    there = runs.read_arrays(tmp_path / "whole" / "rewind.npz")["a"]
    np.testing.assert_array_equal(there, [[0], [3], [5], [7]])
    later = runs.read_arrays(tmp_path / "whole" / "level_01" / "rewind.npz")["a"]
    np.testing.assert_array_equal(later, [0, 6, 10, 14])
    records = runs.read_metrics(tmp_path / "whole")
    assert [record["seed"] for record in records] == [0, 3, 5, 7]


def test_levels_that_a_run_lacks_are_refused(tmp_path):
    one = {"rewind.npz": {"a": np.zeros(1)}}
    more = one | {"level_01/rewind.npz": {"a": np.zeros(1)}}
    both = parts(tmp_path, "lottery", [((0,), one), ((1,), more)])
    with pytest.raises(ValueError, match="level_01/rewind.npz is not in all of the"):
        shares.write(tmp_path / "whole", both)


def test_files_of_seeds_are_kept_and_pictures_of_the_first(tmp_path):
    both = [
        ((seed,), {f"seed_{seed:02d}.npz": {"losses": np.full(2, seed),
                                            "interactions": np.zeros(1)}})
        for seed in (2, 4)
    ]  # fmt: skip
    shares.write(tmp_path / "whole", parts(tmp_path, "circle_removal", both))
    first = runs.read_arrays(tmp_path / "whole" / "seed_02.npz")
    second = runs.read_arrays(tmp_path / "whole" / "seed_04.npz")
    assert [*first] == ["losses", "interactions"] and [*second] == ["losses"]


def spec(name):
    return importlib.import_module(f"sparsejax.experiments.{name}.config")


def test_shards_are_all_of_a_run_and_once_each():
    config = spec("lottery").Config(seeds=(5, 3, 9, 1, 0, 7, 8))
    for count in range(1, 8):
        parts = [shares.part(spec("lottery"), config, f"{i}/{count}").seeds
                 for i in range(count)]  # fmt: skip
        assert sum(parts, ()) == (0, 1, 3, 5, 7, 8, 9) and all(parts)


@pytest.mark.parametrize("name, which, line", [
    ("lottery", "4/4", "--shard must be I/N with I from 0 to N - 1"),
    ("lottery", "1", "got '1'"),
    ("lottery", "0/6", "there are only 5 seeds to be shared out"),
    ("cartpole", "0/2", "a run of cartpole cannot be divided"),
])  # fmt: skip
def test_shards_that_cannot_be_are_refused(name, which, line):
    with pytest.raises(ValueError, match=line):
        shares.part(spec(name), spec(name).Config(), which)


def test_the_sweep_of_all_subsets_is_one():
    config = spec("node_sweep").Config(distribution="subsets", num_units=4)
    with pytest.raises(ValueError, match="one sweep .* cannot be divided"):
        shares.part(spec("node_sweep"), config, "0/2")


def test_only_whole_runs_that_differ_in_their_seeds_are_merged(tmp_path):
    config = spec("circle_removal").Config
    folders = []
    for i, values in enumerate(({"seeds": (0,)}, {"seeds": (1,), "num_nodes": 4})):
        folder = tmp_path / str(i)
        runs.start(folder, config(**values), kind="circle_removal")
        folders.append(folder)
    with pytest.raises(ValueError, match="is not complete; run it to its end"):
        merged(folders)
    for folder in folders:
        runs.finish(folder)
    with pytest.raises(ValueError, match="differ in more than seeds"):
        merged(folders)
    with pytest.raises(ValueError, match="the folders of two runs or more"):
        merged(folders[:1])
