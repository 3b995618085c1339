"""The kit and the shell in a headless browser, from a file, as their readers have them.

Each page under test runs its checks itself and leaves what it found in its own DOM.
"""

import re

import numpy as np
import pytest

from sparsejax import flowgraph, pages, plots, runs

FAILED = re.compile("<html[^>]*data-failed")

REPORT = """
const broken = () => document.documentElement.hasAttribute("data-failed");
const report = (found) => parent === window ? document.body.append(
  sj.el("pre", { id: "found", hidden: true }, JSON.stringify(found)))
  : parent.postMessage(JSON.stringify(broken() ? "failed" : found), "*");
const pixels = (canvas) => Array.from(
  canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
const press = (value) => document.querySelector(`button[value="${value}"]`).click();
const failed = (run) => { try { run(); } catch (error) { return error.message; } };
"""


@pytest.fixture(scope="module")
def browse(tmp_path_factory, read_page):
    """A function that opens a page and returns its DOM, and what it reported."""

    def open_page(page, state="", width=1400):
        opened = tmp_path_factory.mktemp("page") / "index.html"
        runs.write_text(opened, page)
        return read_page(f"{opened.as_uri()}#{state}", "report(" in page, width)

    return open_page


def make(*bodies, script="", **options):
    return pages.page(
        "A test", *bodies, footer="Footer.", script=REPORT + script, **options
    )


def uri(values, scale=None):
    return pages.data_uri(pages.signed_png(values, scale), "image/png")


# ---- One page that tries every part of the kit

KIT = """
(async () => {
  const found = { changes: 0, same: sj.data === sj.data, data: sj.data.plain };
  found.format = sj.data.numbers.map((number) => sj.format(number));
  found.digits = [sj.format(0.98765, 2), sj.format(12.3456, 5), sj.format(NaN)];

  let clicks = 0;
  const made = sj.el("button", { class: "x", disabled: false, hidden: true, title: null,
    onclick: () => clicks++ }, "a < b", [sj.el("i"), null, [1]]);
  made.click();
  const circle = sj.svg("circle", { r: 2 });
  found.made = [made.outerHTML, clicks, circle.namespaceURI, circle.getAttribute("r")];
  found.filled = sj.fill("place", "x", sj.el("b")).innerHTML;
  found.unfilled = failed(() => sj.fill("nowhere"));

  const colors = () => [-1, -0.5, 0, 1, 7, NaN].map(sj.sign.color);
  const canvas = sj.el("canvas");
  document.querySelector("main").append(canvas);
  sj.onchange(() => found.changes++);
  const signs = () => document.documentElement.dataset.signs;
  found.first = [signs(), colors()];
  const picture = await sj.paint(canvas, sj.data.map);
  found.size = [canvas.width, canvas.height, picture.width, [...picture.grey]];
  found.green = pixels(canvas);
  press("blue-orange");
  found.blue = pixels(canvas);
  found.second = [signs(), colors()];
  press("dark");
  found.dark = [pixels(canvas), sj.color("ink")];
  press("light");
  press("green-red");
  found.again = pixels(canvas);
  found.pressed = [...document.querySelectorAll("[aria-pressed=true]")]
    .map((button) => button.value);
  found.stored = [localStorage["sparsejax.theme"], localStorage["sparsejax.signs"]];

  // The last picture asked for stays, whichever is decoded first.
  await Promise.all([sj.paint(canvas, sj.data.large), sj.paint(canvas, sj.data.map)]);
  found.last = [canvas.width, canvas.height];
  found.role = [canvas.getAttribute("role"), getComputedStyle(canvas).imageRendering];

  const calls = [];
  const slider = sj.slider("Level", 5, (i) => `level ${i}`, (i) => calls.push(i));
  document.querySelector("main").append(slider, sj.legend("−1", "+1"));
  const input = slider.querySelector("input");
  found.quiet = calls.length;
  slider.value = 3;
  input.value = 4;
  input.dispatchEvent(new Event("input"));
  slider.value = 99;
  found.slider = [calls, slider.value, slider.querySelector("output").textContent,
    input.getAttribute("aria-valuetext"), input.labels[0].textContent,
    input.min, input.max];
  found.single = sj.slider("One", 1, String, () => 0).querySelector("input").disabled;
  found.none = failed(() => sj.slider("None", 0, String, () => 0));

  found.hash = [sj.hash.get("level", 0), sj.hash.get("unit"), sj.hash.get("bad", 7)];
  found.absent = [sj.hash.get("absent"), sj.hash.get("absent", 2)];
  sj.hash.set("level", 2);
  sj.hash.set("unit", null);
  found.address = location.hash;
  found.blocked = await new Promise((resolve) => {
    addEventListener("securitypolicyviolation", (event) => resolve(event.blockedURI));
    const image = new Image();
    image.src = new URL("picture.png", location);
  });
  report(found);
})();
"""
MAP = np.array([[1.0, -1.0, 0.0], [0.5, -0.5, 0.0]])
NUMBERS = [
    None, 0, -0.0, 1.5, -0.25, 0.123456, 999.7, 1234.5, 1234567, 1e-5, -3e20, 0.0002,
]  # fmt: skip


@pytest.fixture(scope="module")
def kit(browse):
    data = {
        "plain": {"a": [1, "</script>", None]},
        "numbers": NUMBERS,
        "map": uri(MAP),
        "large": uri(np.ones((300, 300))),
    }
    page = make(pages.slot("place"), data=data, script=KIT)
    dom, found = browse(page, "level=5&unit=a+b&bad=x&theme=light")
    assert not FAILED.search(dom)
    return found


def test_data(kit):
    assert kit["data"] == {"a": [1, "</script>", None]}
    assert kit["same"]


def test_format(kit):
    expected = [
        "–", "0", "0", "1.50", "−0.250", "0.123", "1,000", "1,235", "1,234,567",
        "1.00e−5", "−3.00e+20", "0.000200",
    ]  # fmt: skip
    assert kit["format"] == expected
    assert kit["digits"] == ["0.99", "12.346", "NaN"]


def test_elements(kit):
    outer, clicks, namespace, radius = kit["made"]
    assert outer == '<button class="x" hidden="">a &lt; b<i></i>1</button>'
    assert (clicks, namespace, radius) == (1, "http://www.w3.org/2000/svg", "2")
    assert kit["filled"] == "x<b></b>"
    assert kit["unfilled"] == 'the page has no element "nowhere"'


def test_signed_pictures_are_green_and_red(kit):
    assert kit["size"] == [3, 2, 3, [255, 1, 128, 192, 64, 128]]
    plus, minus, zero, half = np.reshape(kit["green"], (6, 4))[:4]
    np.testing.assert_array_equal(plus, [0x04, 0x7E, 0x39, 255])
    np.testing.assert_array_equal(minus, [0xC5, 0x03, 0x1B, 255])
    np.testing.assert_array_equal(zero, [0xE4, 0xE4, 0xE4, 255])
    np.testing.assert_allclose(half, (plus + zero) / 2, atol=1)


def test_the_palette_and_the_theme_repaint(kit):
    plus, minus, zero = np.reshape(kit["blue"], (6, 4))[:3]
    np.testing.assert_array_equal(plus, [0x16, 0x66, 0xD6, 255])
    np.testing.assert_array_equal(minus, [0xC1, 0x5A, 0x00, 255])
    np.testing.assert_array_equal(zero, [0xE4, 0xE4, 0xE4, 255])
    dark, ink = kit["dark"]
    plus, minus, zero = np.reshape(dark, (6, 4))[:3]
    np.testing.assert_array_equal(plus, [0x72, 0xAC, 0xFF, 255])
    np.testing.assert_array_equal(zero, [0x36, 0x36, 0x36, 255])
    assert ink == "rgb(233, 234, 237)"
    assert kit["again"] == kit["green"]
    assert kit["changes"] == 4


def test_sign_colors(kit):
    signs, colors = kit["first"]
    assert signs == "green-red"
    assert colors[0] == "rgb(197, 3, 27)"
    assert colors[1] == "rgb(213, 116, 128)"
    assert colors[2] == colors[5] == "rgb(228, 228, 228)"
    assert colors[3] == colors[4] == "rgb(4, 126, 57)"
    assert kit["second"][0] == "blue-orange"
    assert kit["second"][1][3] == "rgb(22, 102, 214)"


def test_choices_are_shown_and_remembered(kit):
    assert kit["pressed"] == ["light", "green-red"]
    assert kit["stored"] == ["light", "green-red"]


def test_the_last_picture_stays(kit):
    assert kit["last"] == [3, 2]
    assert kit["role"] == ["img", "pixelated"]


def test_slider(kit):
    assert kit["quiet"] == 0
    calls, value, shown, spoken, label, low, high = kit["slider"]
    assert calls == [3, 4, 4] and value == 4
    assert shown == spoken == "level 4"
    assert (label, low, high) == ("Level", "0", "4")
    assert kit["single"] is True
    assert kit["none"] == 'slider "None" has no steps'


def test_state_in_the_address(kit):
    assert kit["hash"] == [5, "a b", 7]
    assert kit["absent"] == [None, 2]
    assert kit["address"] == "#level=2&bad=x&theme=light"


def test_the_policy_blocks_other_files(kit):
    assert kit["blocked"].startswith("file")


# ---- Opened in a state, failing, and at every width


def test_a_page_opens_in_a_state(browse):
    script = """
    const canvas = sj.el("canvas");
    sj.paint(canvas, sj.data).then(() => report([pixels(canvas), sj.color("page")]));
    """
    page = make(script=script, data=uri(MAP))
    dom, found = browse(page, "theme=dark&signs=blue-orange")
    assert found[0][:8] == [0x72, 0xAC, 0xFF, 255, 0xFF, 0x94, 0x40, 255]
    assert found[1] == "rgb(18, 19, 22)"
    # Nonsense in the address changes nothing.
    dom, found = browse(page, "theme=toString&signs=")
    assert 'data-theme="auto" data-signs="green-red"' in dom


def test_errors_are_shown(browse):
    script = """
    sj.paint(sj.el("canvas"), "data:image/png;base64,AAAA").catch((error) => {
      Promise.reject(error);
      setTimeout(() => report({
        boxes: document.querySelectorAll(".error[role=alert]").length,
        text: document.querySelector(".error").textContent,
        loading: getComputedStyle(document.querySelector(".loading")).display,
        controls: document.querySelectorAll(".controls button").length,
        after: document.querySelector(".error").previousElementSibling.tagName,
      }), 100);
    });
    throw new TypeError("no <b>level</b> 12");
    """
    _, found = browse(make(pages.slot("x"), script=script))
    assert found["boxes"] == 1
    assert "A part of this page could not be drawn" in found["text"]
    assert "no <b>level</b> 12" in found["text"]
    assert "not a picture: data:image/png;base64,AAAA" in found["text"]
    assert found["loading"] == "none"
    assert found["controls"] == 5
    assert found["after"] == "HEADER"


def test_storage_may_be_forbidden(browse):
    script = """
    press("dark"); report(document.documentElement.dataset.theme);
    """
    deny = "Object.defineProperty(window, 'localStorage', { get() { throw 'no'; } });"
    page = make(script=script).replace("const sj =", deny + "const sj =", 1)
    dom, found = browse(page)
    assert found == "dark" and not FAILED.search(dom)


LAYOUT = """
sj.fill("tiles", sj.el("div", { class: "tiles" }, Array.from({ length: 9 }, (_, i) =>
  sj.el("figure", {}, sj.el("canvas", { width: 8, height: 8 }),
    sj.el("figcaption", {}, "block_3/conv_with_a_long_name/kernel: unit " + i)))),
  sj.slider("A label of some length", 9, (i) => `level ${i}, 12 %`, () => 0),
  sj.legend("−0.125", "+0.125"));
onload = () => {
  const texts = [...document.querySelectorAll("body *")].filter((element) =>
    element.checkVisibility() && [...element.childNodes].some((node) =>
      node.nodeType === 3 && node.data.trim()));
  const boxes = [...document.querySelectorAll(
    "h1, h2, .lead, .note, .controls, .facts > div, .plate, .scroll, figcaption, " +
    "canvas, .slider, .legend, main p, footer")].map((element) => {
      const { left, top, right, bottom } = element.getBoundingClientRect();
      return { name: element.className || element.tagName, left, top, right, bottom };
    });
  const inside = (a) => a.left >= -0.5 && a.right <= innerWidth + 0.5;
  const meet = (a, b) => a.left < b.right - 0.5 && b.left < a.right - 0.5 &&
    a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5;
  report({
    width: innerWidth,
    scroll: document.documentElement.scrollWidth,
    smallest: Math.min(...texts.map((e) => parseFloat(getComputedStyle(e).fontSize))),
    outside: boxes.filter((box) => !inside(box)).map((box) => box.name),
    overlaps: boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => meet(a, b))
      .map((b) => `${a.name} ${b.name}`)),
  });
};
"""
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="864pt" height="288pt"'
    ' viewBox="0 0 864 288"><rect width="864" height="288" fill="#ddd"/></svg>'
)


def test_nothing_overlaps_or_leaves_the_page(browse):
    long = "conv_block_with_a_name_that_has_no_end/and_goes_on_and_on_for_ever/kernel"
    page = pages.page(
        f"A title that says a finding about {long}",
        pages.facts([(f"Fact {i} of a few", "98.32 % ± 0.04", long) for i in range(6)]),
        pages.section(
            long,
            pages.columns(pages.figure_svg(SVG, long, "a"), pages.slot("tiles")),
            pages.figure_svg(SVG, long, "a"),
            pages.table([[long, 0.5, 10**9] * 3], ["name", "value", "count"] * 3),
            pages.image(pages.png(np.zeros((9, 9), np.uint8)), long, "a", width=999),
            note=long,
        ),
        lead=long,
        footer=long,
        script=REPORT + LAYOUT,
    )
    widths = [1400, 900, 420, 320]
    _, reports = browse(page, width=widths)
    for width, found in zip(widths, reports, strict=True):
        assert found["width"] == width
        assert found["scroll"] <= width, width
        assert found["smallest"] >= 11, width
        assert found["outside"] == [], width
        assert found["overlaps"] == [], width


@pytest.mark.parametrize("theme, paper", [("light", 255), ("dark", 27)])
def test_drawings_and_their_cards_follow_the_theme(browse, tmp_path, theme, paper):
    figure = plots.against_density({"a": ([1.0, 0.5], [[0.5], [1.0]])}, title="t",
                                   ylabel="accuracy")  # fmt: skip
    plots.save(figure, tmp_path / "a.svg")
    graph = flowgraph.trace(lambda x: x @ np.eye(2, dtype=np.float32), np.ones(2, "f4"))
    script = """
    onload = async () => report(await Promise.all(
      [...document.querySelectorAll(".plate img")].map(async (img) => {
        await img.decode();
        await new Promise((done) => setTimeout(done, 300));
        const context = sj.el("canvas", { width: 200, height: 200 }).getContext("2d");
        context.drawImage(img, 0, 0, 200, 200);
        const seen = context.getImageData(0, 0, 200, 200).data;
        const card = getComputedStyle(img.parentElement).backgroundColor;
        const ends = [...seen].filter((_, i) => i % 4 === 0);
        return [seen[4 * 201], Math.max(...ends), Math.min(...ends), card];
      })));
    """
    drawings = [(tmp_path / "a.svg").read_bytes(), graph.to_svg()]
    page = make(*(pages.figure_svg(d, "c", "a") for d in drawings), script=script)
    _, found = browse(page, f"theme={theme}")
    for corner, highest, lowest, card in found:
        assert corner == paper
        assert f"rgb({paper}, " in card  # of the page's surface
        assert highest - lowest > 150  # texts and lines are seen on it


def test_wide_tables_scroll_in_their_card(browse):
    script = """
    onload = () => {
      const card = document.querySelector(".scroll"), style = getComputedStyle(card);
      report({
        more: card.scrollWidth - card.clientWidth, overflow: style.overflowX,
        shades: style.backgroundImage.split("linear-gradient").length - 1,
        moving: style.backgroundAttachment, tab: card.tabIndex,
      });
    };
    """
    table = pages.table([["a cell", *range(12)]], [f"column {i}" for i in range(13)])
    _, found = browse(make(table, script=script), width=420)
    assert found["more"] > 100 and found["overflow"] == "auto" and found["tab"] == 0
    assert found["shades"] == 4
    assert found["moving"].startswith("local, local, scroll, scroll")
