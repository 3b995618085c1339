"""Pages as text, and the small parts that they are made of."""

import ast
import html
import json
import re
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from sparsejax import pages

FOLDER = resources.files("sparsejax.pages")
SVG = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD">
<svg width="460.8pt" height="345.6pt" viewBox="0 0 460.8 345.6"
  xmlns="http://www.w3.org/2000/svg"><rect width="10" height="10"/></svg>"""


def text_of(name):
    return FOLDER.joinpath(name).read_text(encoding="utf-8")


def make(*bodies, **options):
    return pages.page("A title", *bodies, footer="Made by hand.", **options)


def embedded(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


# ---- The document


def test_page_has_its_parts_in_order():
    page = make("First.", pages.Html("<p>Second.</p>"), lead="The finding.", script="1")
    parts = [
        "<!doctype html>", '<html lang="en">', "Content-Security-Policy", "viewport",
        "<title>A title</title>", "<style>", "<h1>A title</h1>",
        '<p class="lead">The finding.</p>', "const sj", "<noscript>", "<main>",
        "<p>First.</p>",
        "<p>Second.</p>", "</main>", "<footer>", "<p>Made by hand.</p>",
        "<script>\n1\n</script>", "</html>",
    ]  # fmt: skip
    places = [page.index(part) for part in parts]
    assert places == sorted(places)


def test_text_is_escaped_everywhere():
    evil = '<script>alert(1)</script> & "x"'
    page = pages.page(
        evil,
        evil,
        pages.section(evil, evil, pages.columns(evil), note=evil),
        pages.table([[evil, 1]], [evil, evil], caption=evil),
        pages.facts([(evil, evil, evil)]),
        pages.figure_svg(SVG, evil, evil),
        pages.image(pages.png(np.zeros((1, 1), np.uint8)), evil, evil),
        pages.slot(evil, evil),
        lead=evil,
        footer=evil,
        data={evil: evil},
    )
    assert "<script>alert" not in page
    assert "alert(1)</script>" not in page
    assert page.count(html.escape(evil)) == 23
    assert embedded(page) == {evil: evil}


def test_dollar_signs_are_text():
    page = make("$title ${data} $5", script="const f = `${1}$data`;")
    assert "$title ${data} $5" in page
    assert "const f = `${1}$data`;" in page


def test_a_page_reaches_for_nothing_outside():
    page = make(pages.figure_svg(SVG, "c", "a"), data={"a": 1}, script="sj.el('p')")
    links = re.findall(r"""https?:[^"'\s]*""", page)
    assert set(links) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\(|@import|src=\"(?!data:)|href=\"(?!data:)", page)
    policy = re.search(r'Security-Policy" content="([^"]*)"', page)
    assert policy and policy[1].startswith(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'"
    )


@pytest.mark.parametrize("script", ["a = '</script>'", "b = '</SCRIPT '", "\n'<!--'"])
def test_a_script_that_would_end_early_is_refused(script):
    with pytest.raises(ValueError, match=r"line \d of the script"):
        make(script=script)


def test_a_style_follows_that_of_the_shell():
    page = make(style=".own { color: var(--ink); }")
    assert page.index(".own {") > page.index("--ink:")
    with pytest.raises(ValueError, match="line 2 of the style"):
        make(style="p {}\n</style><p>")


def test_the_shell_stays_small():
    sizes = {name: len(text_of(name).encode()) for name in ("style.css", "kit.js")}
    assert sum(sizes.values()) < 20_000, sizes


def test_the_package_stands_on_numpy_and_the_standard_library():
    for path in Path(str(FOLDER)).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                assert top == "numpy" or top in sys.stdlib_module_names, (path, name)


# ---- Data


def test_data_makes_the_round_trip():
    data = {
        "text": 'é </script><!-- & "x" \u2028\u2029 😀',
        "none": None,
        "flags": [True, False],
        "numbers": [0, -1, 1.5, 1e-300, 2**60],
        "nested": {"a": [{"b": []}, {}]},
        "tuple": (1, "two"),
    }
    page = make(data=data)
    assert embedded(page) == {**data, "tuple": [1, "two"]}
    for data in (0, "", [], {}, False):
        assert embedded(make(data=data)) == data
    assert "application/json" not in make()


def test_embedded_text_cannot_close_its_element():
    raw = re.search(r'id="data">(.*?)</script>', make(data="</script>&<!--\u2028é"))
    assert raw and not re.search(r"[<>&\u2028é]", raw[1])


def test_arrays_become_lists():
    data = {
        1: np.arange(3),
        "b": np.float64(0.5),
        "c": np.bool_(True),
        "d": np.array([["x", "y"]]),
        "e": np.zeros((0, 2)),
    }
    expected = {"1": [0, 1, 2], "b": 0.5, "c": True, "d": [["x", "y"]], "e": []}
    assert embedded(make(data=data)) == expected


def test_float32_is_short_and_exact(rng):
    values = rng.standard_normal((4, 5)).astype(np.float32)
    assert "[0.1,0.2]" in make(data=np.array([0.1, 0.2], np.float32))
    np.testing.assert_array_equal(np.array(embedded(make(data=values)), "f4"), values)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (np.nan, "data is nan"),
        ({"runs": [{"loss": 1.0}, {"loss": np.inf}]}, "data['runs'][1]['loss'] is inf"),
        ({"a": (0.0, -np.inf)}, "data['a'][1] is -inf"),
        ([np.array([[0, 1], [2, np.nan]])], "data[0][1][1] is nan"),
        ({"x": np.float32("nan")}, "data['x'] is nan"),
    ],
)
def test_numbers_that_json_lacks_are_refused_with_their_path(data, path):
    with pytest.raises(ValueError, match="^" + re.escape(path)):
        make(data=data)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"a": {1, 2}}, "data['a'] is a set"),
        ([b"x"], "data[0] is a bytes"),
        ({None: 1}, "data has the key None"),
        ({"z": np.array([1j])}, "data['z'] has dtype complex128"),
        ([{1: "a", "1": "b"}], "data[0] has two keys that read '1'"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_path(data, path):
    with pytest.raises(ValueError, match="^" + re.escape(path)):
        make(data=data)


# ---- Pieces


def test_join_and_tag():
    assert pages.join("<", pages.Html("<br>"), 3) == "&lt;<br>3"
    made = pages.tag("p", "&", class_="a", aria_label='"', id=None, title="")
    assert made == '<p class="a" aria-label="&quot;">&amp;</p>'
    assert isinstance(made, pages.Html)
    assert pages.tag("br") == "<br>"
    # What str makes of markup is text again: it is escaped twice rather than never.
    assert pages.join(made + "<b>").startswith("&lt;p")


def test_data_uri():
    assert pages.data_uri(b"hi", "text/plain") == "data:text/plain;base64,aGk="


def test_figures_know_their_width():
    figure = pages.figure_svg(SVG.encode(), "See this.", "A square")
    assert "--width: 614px" in figure  # 460.8 pt at 4/3 pixels a point
    assert 'alt="A square"' in figure
    assert "<figcaption>See this.</figcaption>" in figure
    assert "--width: 30px" in pages.figure_svg('<svg width="30"></svg>', "c", "a")
    picture = pages.png(np.zeros((2, 7, 3), np.uint8))
    assert "--width: 7px" in pages.image(picture, "c", "a")
    assert "crisp" not in pages.image(picture, "c", "a")
    assert "crisp" in pages.image(picture, "c", "a", width=70)


def test_figures_that_are_none_are_refused():
    with pytest.raises(ValueError, match="not an SVG"):
        pages.figure_svg("<html></html>", "c", "a")
    with pytest.raises(ValueError, match="not a PNG"):
        pages.image(b"GIF89a", "c", "a")
    with pytest.raises(ValueError, match="needs `alt`"):
        pages.figure_svg(SVG, "c", " ")


def cells(table):
    return [html.unescape(t) for t in re.findall(r"<td[^>]*>(.*?)</td>", table)]


@pytest.mark.parametrize(
    ("column", "texts", "numeric"),
    [
        ([1, 0.5, 0.4096], ["1", "0.5000", "0.4096"], True),
        ([1.0, 0.8, None], ["1.0", "0.8", "–"], True),
        ([266_200, -5], ["266,200", "−5"], True),
        ([1e-7, 0.5], ["1e−07", "0.5"], True),
        ([12345.6, 2.5], ["12,346", "2.5"], True),
        ([1024.5, 3.25], ["1,024.50", "3.25"], True),
        ([np.float32(0.1), np.int64(3)], ["0.1", "3"], True),
        ([float("nan"), 2.0], ["nan", "2"], True),
        (["98.1 ± 0.2", "97 %"], ["98.1 ± 0.2", "97 %"], True),
        (["dense", 1], ["dense", "1"], False),
        ([True, np.bool_(False)], ["yes", "no"], False),
        ([None], ["–"], False),
        (["2 cores"], ["2 cores"], False),
    ],
)
def test_columns_of_numbers(column, texts, numeric):
    table = pages.table([[cell] for cell in column], ["h"])
    assert cells(table) == texts
    assert ('<td class="number">' in table) == numeric
    assert ('<th scope="col" class="number">' in table) == numeric


def test_tables():
    table = pages.table([["a", 1]], ["n", "v"], caption=pages.Html("<b>All</b> &amp;"))
    assert "<figcaption><b>All</b> &amp;</figcaption>" in table
    assert 'aria-label="All &amp;"' in table
    assert "Nothing here yet." in pages.table([], ["n", "v"])
    assert "<figcaption>" not in pages.table([], ["n"])
    with pytest.raises(ValueError, match="row 1 has 3 cells, the header names 2"):
        pages.table([[1, 2], [1, 2, 3]], ["a", "b"])


def test_facts():
    row = pages.facts([("Nets", 66), ("Accuracy", "98.3 %", "3 seeds")])
    assert "<dt>Nets</dt><dd>66</dd>" in row
    assert "<dt>Accuracy</dt><dd>98.3 %</dd><dd>3 seeds</dd>" in row
    with pytest.raises(ValueError, match="a fact is"):
        pages.facts([("Nets",)])


# ---- Colours: text is legible in both themes


def luminance(color):
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(
        channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
    )
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrasts(theme):
    pattern = r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)"
    found = re.findall(pattern, text_of("style.css"))
    colors = {}
    for name, *pair in found:
        colors.setdefault(name, []).append(pair[theme == "dark"])

    def contrast(name, other):
        pairs = (
            (luminance(a), luminance(b)) for a in colors[name] for b in colors[other]
        )
        return min((max(p) + 0.05) / (min(p) + 0.05) for p in pairs)

    for background in ("page", "surface"):
        for name in ("ink", "quiet", "accent", "bad"):
            assert contrast(name, background) >= 4.5, (name, background)
        for name in ("plus", "minus", "control"):
            assert contrast(name, background) >= 3, (name, background)
    assert contrast("plus", "zero") > 2.5 and contrast("minus", "zero") > 2.5
    # Equal magnitudes look equally strong, whatever their sign.
    for plus, minus in zip(colors["plus"], colors["minus"]):
        bright = sorted([luminance(plus) + 0.05, luminance(minus) + 0.05])
        assert bright[1] / bright[0] < 1.5
