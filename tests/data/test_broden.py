"""The Broden format: a folder by hand, the rules in plain loops, what is written."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sparsejax import data

NAMES = {1: "sky", 2: "red-c", 3: "cat", 4: "leg", 300: "street-s", 301: "fabric"}
COVERAGE = {  # of labels within categories: sky and fabric are in two of them
    "color": {2: 3.5},
    "object": {1: 2.0, 3: 1.0, 301: 0.5},
    "part": {4: 0.25, 1: 2.0},
    "scene": {300: 2},
    "material": {301: 0.75},
}
INDEX = """\
image,split,ih,iw,sh,sw,color,material,object,part,scene
a/0.jpg,train,8,12,4,6,a/0_c.png,,a/0_o.png,a/0_p.png;a/0_q.png,300
a/1.jpg,val,8,12,4,6,,,,,300;2
a/2.jpg,train,8,12,4,6,,a/2_m.png,,,
a/3.jpg,train,8,12,4,6,,,,,
a/4.jpg,val,8,12,4,6,,,a/4_o.png,,
"""
MAPS = {"0_c": [2], "0_o": [1, 3], "0_p": [4], "0_q": [1, 4], "2_m": [301],
        "4_o": [3, 301]}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("broden")
    rng = np.random.default_rng(0)
    (root / "images" / "a").mkdir(parents=True)
    (root / "index.csv").write_text(INDEX)
    table(root / "category.csv", [["name", "first", "last", "count", "frequency"]]
          + [[name, 0, 0, 0, 0] for name in COVERAGE])  # fmt: skip
    table(root / "label.csv", [["number", "name", "category", "frequency", "coverage"]]
          + [[number, name, "", 0, 0] for number, name in NAMES.items()])  # fmt: skip
    for kind, labels in COVERAGE.items():
        rows = [[i, n, NAMES[n], 1, c] for i, (n, c) in enumerate(labels.items(), 1)]
        table(root / f"c_{kind}.csv",
              [["code", "number", "name", "frequency", "coverage"], *rows])  # fmt: skip
    for i in range(5):
        pixels = rng.integers(0, 256, (8, 12, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"images/a/{i}.jpg")
    for name, labels in MAPS.items():
        save(root / f"images/a/{name}.png", rng.choice([0, *labels], (4, 6)))
    return root


@pytest.fixture
def folder(made, tmp_path):
    """A copy to damage."""
    return shutil.copytree(made, tmp_path / "copy")


def table(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


def save(path, labels):
    codes = [[(n % 256, n // 256, 0) for n in row] for row in labels]
    Image.fromarray(np.array(codes, np.uint8)).save(path)


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def plain(root, kinds):
    """Images, sets of labels of each pixel, and of whole images, one by one."""
    for row in rows(root / "index.csv"):
        items = [item for kind in kinds for item in row[kind].split(";") if item]
        if not items:
            continue
        maps = [
            np.asarray(Image.open(root / "images" / i)).astype(int)
            for i in items
            if i.endswith("png")
        ]
        at = [[{int(m[y, x, 0] + 256 * m[y, x, 1]) for m in maps} - {0}
               for x in range(6)] for y in range(4)]  # fmt: skip
        image = np.asarray(Image.open(root / "images" / row["image"]))
        yield image / 255, at, [int(i) for i in items if i.isdigit()]


def at_pixels(layers):
    return [[set(layers[:, y, x].tolist()) - {0} for x in range(layers.shape[2])]
            for y in range(layers.shape[1])]  # fmt: skip


@pytest.mark.parametrize("kinds", [None, ["scene", "part", "object"], ["color"]])
@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_as_read_one_by_one(made, kinds, batch_size):
    found = data.broden(made, categories=kinds, batch_size=batch_size)
    expected = list(plain(made, kinds or COVERAGE))
    assert found.count == len(expected) and len(found) == -(-found.count // batch_size)
    for _ in range(2):  # as often as one likes
        chunks = list(found)
        assert len(chunks) == len(found)
        for part in range(3):
            sizes = {chunk[part].shape[1:] for chunk in chunks}
            assert len(sizes) == 1
        images, pixels, whole = map(np.concatenate, zip(*chunks))
        assert (images.dtype, pixels.dtype, whole.dtype) == ("f4", "i4", "i4")
        for i, (image, labels, numbers) in enumerate(expected):
            np.testing.assert_allclose(images[i], image, atol=1e-7)
            assert at_pixels(pixels[i]) == labels
            assert whole[i][whole[i] > 0].tolist() == numbers
    np.testing.assert_array_equal(found[-1].images, chunks[-1].images)
    with pytest.raises(IndexError):
        found[len(found)]


def test_layers_are_of_one_category(made):
    found = data.broden(made)
    assert [found.labels.categories[i] for i in found.layers] == [
        "color", "object", "part", "part", "material"]  # fmt: skip
    assert set(np.unique(found[0].pixels[:, 4])) == {0, 301}
    assert data.broden(made, categories=["scene"])[0].pixels.shape == (2, 1, 4, 6)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [  # sky ties: to the later of object and part; fabric covers more as a material
        (None, {1: "part", 2: "color", 3: "object", 4: "part", 300: "scene",
                301: "material"}),
        (["object", "color"], {1: "object", 2: "color", 3: "object", 4: "object",
                               300: "object", 301: "object"}),
    ],
)  # fmt: skip
def test_a_label_belongs_where_it_covers_most(made, kinds, expected):
    labels = data.broden(made, categories=kinds).labels
    found = {n: labels.categories[labels.category[n]] for n in NAMES}
    assert found == expected and labels.category[0] == -1
    assert {n: labels.names[n] for n in NAMES} == NAMES and labels.names[0] == ""


def test_splits_and_sizes(made):
    assert [row.image for row in data.broden(made, split="val").rows] == [
        "a/1.jpg", "a/4.jpg"]  # fmt: skip
    small = data.broden(made, size=4)[0]
    assert small.images.shape == (4, 4, 4, 3) and small.pixels.shape[2:] == (4, 6)
    with pytest.raises(ValueError, match="no split 'test', but train, val"):
        data.broden(made, split="test")
    with pytest.raises(ValueError, match="no categories 'sky'; expected some of color"):
        data.broden(made, categories=["sky", "color"])
    with pytest.raises(ValueError, match="batch_size and size must be 1 or more"):
        data.broden(made, batch_size=0)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("index.csv", "a/0_q.png", "a/9.png", "line 2: images/a/9.png is missing"),
        ("index.csv", "a/4.jpg", "a/9.jpg", "line 6: images/a/9.jpg is missing"),
        ("index.csv", ",300;2", ",300;5", "line 3: label 5 is not in label.csv"),
        ("index.csv", ",300;2", ",70000", "line 3: label 70000 is not in label.csv"),
        ("index.csv", "val,8,12,4,6,,,,,3", "val,8,12,4,5,,,,,3",
         r"line 3: an image of \(8, 12\) with label maps of \(4, 5\)"),
        ("index.csv", "val,8,12,4,6,,,a", "val,8,16,4,6,,,a", "line 6: an image of"),
        ("index.csv", "val,8,12,4,6,,,a", "val,8,12,-4,6,,,a", "line 6: sh is -4"),
        ("index.csv", "val,8,12,4,6,,,a", "val,8,12,4,six,,,a", "sw is 'six', not a"),
        ("index.csv", ",,,300;2", ",,300;2", "line 3: expected 11 cells"),
        ("index.csv", "ih,iw", "ih,w", "lacks the columns iw; it has image, split"),
        ("label.csv", "4,leg", "3,leg", "line 5: label 3; expected each once"),
        ("c_part.csv", "1,4,", "1,5,", "c_part.csv, line 2: label 5 is not in"),
        ("c_part.csv", "0.25", "nan", "line 2: coverage is nan"),
        ("category.csv", "name", "kind", "lacks the columns name"),
    ],
)  # fmt: skip
def test_tables_are_checked_when_opened(folder, file, old, new, message):
    change(folder / file, old, new)
    with pytest.raises(ValueError, match=message):
        data.broden(folder)


def test_files_that_are_missing(folder):
    (folder / "c_part.csv").unlink()
    with pytest.raises(ValueError, match="c_part.csv cannot be read"):
        data.broden(folder)
    assert data.broden(folder, categories=["object"]).count == 2


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("4.jpg", lambda p: p.write_bytes(p.read_bytes()[:300]), "does not decode"),
        ("4.jpg", lambda p: p.write_bytes(b"GIF"), "4.jpg does not decode"),
        ("4_o.png", lambda p: p.write_bytes(p.read_bytes()[:60]), "does not decode"),
        ("4_o.png", lambda p: save(p, np.full((4, 6), 5)), "label 5 is not in label"),
        ("4_o.png", lambda p: save(p, np.full((4, 6), 302)), "label 302 is not in"),
        ("4_o.png", lambda p: save(p, np.full((6, 4), 3)), "is 6x4 pixels, not 4x6"),
        ("4_o.png", lambda p: Image.new("L", (6, 4), 3).save(p), "has blue pixels"),
    ],
)
def test_images_are_checked_when_read(folder, file, damage, message):
    damage(folder / "images" / "a" / file)
    found = data.broden(folder, batch_size=1)
    assert len(list(found[i] for i in range(3))) == 3
    with pytest.raises(ValueError, match=rf"index.csv, line 6: images.*{message}"):
        found[3]


def test_images_mean_what_they_do_in_folders(folder):
    """Those of `test_pictures.py`: here one of 16 bits and one that is transparent."""
    ramp = np.linspace(0, 65535, 96).reshape(8, 12).round().astype(np.uint16)
    path = folder / "images" / "a" / "4.jpg"
    Image.fromarray(ramp).save(path, "PNG")
    found = data.broden(folder)[0].images[-1]
    np.testing.assert_allclose(found, np.stack([ramp / 65535] * 3, -1), atol=1e-7)
    small = data.broden(folder, size=4)[0].images[-1]
    assert small.mean() == pytest.approx(0.5, abs=1e-6)
    Image.new("RGBA", (12, 8), (10, 20, 30, 0)).save(path, "PNG")
    assert data.broden(folder)[0].images[-1].min() == 1


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("RGBA", (6, 4), (3, 0, 0, 0)), "has blue pixels"),
        (Image.fromarray(np.full((4, 6), 3, np.uint16)), "has more than 8 bits"),
        (Image.new("LA", (6, 4), (0, 9)), "has blue pixels"),
    ],
)
def test_label_maps_are_exact(folder, image, message):
    image.save(folder / "images" / "a" / "4_o.png")
    with pytest.raises(ValueError, match=f"line 6: images/a/4_o.png {message}"):
        data.broden(folder)[0]


def test_tables_of_other_systems_and_one_category(folder):
    for name in ("index.csv", "category.csv", "c_object.csv", "label.csv"):
        text = (folder / name).read_text().replace("\n", "\r\n")
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = data.broden(str(folder), categories="object")
    assert found.labels.categories == ("object",) and found.count == 2
    kinds = data.broden(folder, categories=iter(["object"]))
    assert kinds.rows == found.rows


def random_labeled(seed, n=5):
    """Layers of one category each, in the order of categories."""
    rng = np.random.default_rng(seed)
    kinds = ("object", "part-of", "scene")
    category = np.array([-1, *rng.integers(0, 3, 299)])
    labels = data.Labels(("", *(f"l {i}, {i}" for i in range(299))), kinds, category)

    def pick(kind, shape):
        return rng.choice([0, *np.flatnonzero(category == kind)[[0, -1]]], shape)

    layers = [pick(kind, (n, 1, 4, 3)) for kind in (0, 1, 1)]
    pixels = np.concatenate(layers, 1)
    pixels[0, 1, 0, 0] = pixels[0, 2, 0, 1] = np.flatnonzero(category == 1)[0]
    whole = np.flatnonzero(category == 2)[rng.integers(0, 2, (n, 1))]
    images = rng.integers(0, 256, (n, 6, 8, 3)).astype("f4") / np.float32(255)
    pixels, whole = pixels.astype("i4"), whole.astype("i4")
    return data.Labeled(images, pixels, whole), labels


def test_what_is_written_is_read(tmp_path):
    given, labels = random_labeled(0)
    data.write_broden(tmp_path / "new", given, labels)
    read = data.broden(tmp_path / "new")
    assert read.labels.names == labels.names
    assert read.labels.categories == labels.categories
    np.testing.assert_array_equal(read.labels.category, labels.category)
    for a, b in zip(read[0], given, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [p.name for p in tmp_path.iterdir()] == ["new"]
    chunks = [data.Labeled(*(part[i : i + 2] for part in given)) for i in (0, 2, 4)]
    data.write_broden(tmp_path / "pieces", iter(chunks), labels, split="val")
    read = data.broden(tmp_path / "pieces", split="val")
    for a, b in zip(read[0], given, strict=True):
        np.testing.assert_array_equal(a, b)
    tables = ("label.csv", "category.csv", "c_object.csv")
    for name in tables:
        ours, other = (tmp_path / f / name for f in ("new", "pieces"))
        assert ours.read_text() == other.read_text()


def test_tables_count_images_and_pixels(tmp_path):
    given, labels = random_labeled(1)
    data.write_broden(tmp_path / "new", given, labels)
    share = {}
    for pixels, whole in zip(given.pixels, given.whole):
        for n in range(1, 300):
            here = [1.0 if n in whole or n in pixels[:, y, x] else 0.0
                    for y in range(4) for x in range(3)]  # fmt: skip
            share.setdefault(n, []).append(sum(here) / 12)
    for row in rows(tmp_path / "new" / "label.csv"):
        shares = share[int(row["number"])]
        kind = labels.categories[labels.category[int(row["number"])]]
        assert int(row["frequency"]) == sum(s > 0 for s in shares)
        assert float(row["coverage"]) == pytest.approx(sum(shares))
        assert row["category"] == f"{kind}({row['frequency']})"
    for kind, total in zip(labels.categories, rows(tmp_path / "new/category.csv")):
        codes = rows(tmp_path / "new" / f"c_{kind}.csv")
        assert [int(row["code"]) for row in codes] == list(range(1, len(codes) + 1))
        counts = [int(row["frequency"]) for row in codes]
        assert counts == sorted(counts, reverse=True) and len(codes) == int(
            total["count"]
        )
        assert sum(counts) == int(total["frequency"])
        numbers = [int(row["number"]) for row in codes]
        assert [min(numbers), max(numbers)] == [int(total["first"]), int(total["last"])]


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 10**6))
def test_any_layers_keep_the_labels_of_pixels(tmp_path, seed):
    rng, root = np.random.default_rng(seed), tmp_path / f"{seed}"
    (images, _, _), labels = random_labeled(seed, 3)
    pixels = rng.choice(rng.integers(0, 300, 5), (3, 2, 4, 3)).astype("i4")
    whole = np.full((3, 1), 1, "i4")
    shutil.rmtree(root, ignore_errors=True)
    data.write_broden(root, data.Labeled(images, pixels, whole), labels)
    read = data.broden(root)[0]
    assert [at_pixels(p) for p in read.pixels] == [at_pixels(p) for p in pixels]


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("images", 1.5, "image 1 has values from"),
        ("images", np.nan, "image 1 has values from"),
        ("pixels", 300, r"image 1 has label 300, but the table goes from 0 \(none\)"),
        ("whole", -1, "image 1 has label -1"),
    ],
)
def test_nothing_is_left_of_what_cannot_be_written(tmp_path, part, value, message):
    given, labels = random_labeled(2)
    getattr(given, part)[1] = value
    with pytest.raises(ValueError, match=message):
        data.write_broden(tmp_path / "new", given, labels)
    assert not list(tmp_path.iterdir())


def test_bad_tables_shapes_and_folders(tmp_path):
    given, labels = random_labeled(3)

    def write(given, labels):
        return data.write_broden(tmp_path / "new", given, labels)

    with pytest.raises(ValueError, match="have shapes"):
        write(given._replace(whole=given.whole[:2]), labels)
    with pytest.raises(ValueError, match="no images"):
        write([], labels)
    with pytest.raises(ValueError, match="'../x' cannot name a file"):
        write(given, data.Labels(("", "a"), ("../x",), np.array([-1, 0])))
    with pytest.raises(ValueError, match="label 1 .'a'. has category 1; exp.* 0 to 0"):
        write(given, data.Labels(("", "a"), ("x",), np.array([-1, 1])))
    (tmp_path / "new").mkdir()
    Path(tmp_path / "new" / "file").touch()
    with pytest.raises(ValueError, match="there already; choose another folder"):
        write(given, labels)
