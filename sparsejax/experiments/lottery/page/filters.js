// A slider through the levels: kernels of the first layer, and what is left of each.
const levels = sj.data.levels;
const tiles = sj.el("div", {class: "tiles"});
const text = sj.el("p", {class: "quiet"});
const show = (i) => {
  const level = levels[i];
  text.textContent = level.text;
  tiles.replaceChildren(...level.units.map((unit) => {
    const canvas = sj.el("canvas", {role: "img", "aria-label": unit.label});
    sj.paint(canvas, unit.uri);
    return sj.el("figure", {}, canvas, sj.el("figcaption", {}, unit.label));
  }));
  sj.hash.set("level", i);
};
const start = Math.min(sj.hash.get("level", levels.length - 1), levels.length - 1);
const slider = sj.slider("Level", levels.length, (i) => levels[i].name, show);
slider.value = start;
sj.fill("filters", slider, text, sj.el("p", {}, sj.legend("−", "+")), tiles);
