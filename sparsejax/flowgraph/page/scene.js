// All that a drawing needs: the boxes that are shown, their numbers, notes on them.
const scene = (() => {
  const { first, most, paper, scales, differences } = source;
  const { now, chosen, explained } = state;

  const badges = (graph, edits) => {
    const words = { remove: () => "removed", bias: () => "edited", weight: () => "edited",
      clamp: (edit) => `= ${sj.format(Number(edit[2]))}` };
    const sorted = [...edits].sort((a, b) => (a[0] in { remove: 1, clamp: 1 }) -
      (b[0] in { remove: 1, clamp: 1 })); // a node's own word wins over its weights'
    return new Map(sorted.filter(([kind, key]) => graph.at.has(key) && kind in words)
      .map((edit) => [graph.at.get(edit[1]), words[edit[0]](edit)]));
  };

  const counted = new Map(); // vertices and edges as Python counts them
  const count = (graph, index) => {
    const name = JSON.stringify([index, now.output, now.level]);
    if (!counted.has(name)) {
      const { boxes } = views.view(graph, chosen(), now.level, false);
      counted.set(name, [boxes.length, boxes.reduce((n, box) => n + box.args.length, 0)]);
    }
    return counted.get(name);
  };

  const strongest = (graph, { edges }) => most(graph.ops.flatMap((_, i) =>
    views.pictured(graph, i)
      ? [...edges.slice(graph.starts[i], graph.starts[i + 1])] : []));

  const make = (graph, index) => {
    const edits = now.edits[index];
    const changes = engine.changes(graph, edits);
    const values = engine.evaluate(graph, now.x, changes);
    const before = edits.length ? engine.evaluate(graph, now.x) : values;
    const plain = { coefs: graph.coefs, consts: graph.consts };
    const whole = views.view(graph, chosen(), now.level, now.pictures);
    const numbersOf = (view, v, made) =>
      view.boxes.map((box) => views.valueOf(graph, box, v, made));
    const all = numbersOf(whole, values, changes);
    const shares = now.by === "relevance" ? relevance.explain(graph, values,
      graph.outputs[first.outputNames.indexOf(explained())], changes) : null;
    const list = views.measure(whole, all, changes, shares);
    let shown = views.hide(whole, list, now.rule, now.amount);
    if (now.only && now.pins.size) shown = views.around(shown, now.pins);
    const numbers = numbersOf(shown, values, changes);
    return {
      graph, index, name: graph.name, changes, values, before, shown, numbers, shares,
      list: views.measure(shown, numbers, changes, shares),
      full: { ...whole, numbers: all, list, before: numbersOf(whole, before, plain) },
      found: views.search(graph, shown, numbers, now.find),
      count: count(graph, index),
      scales: { weights: scales[index],
        products: shares ? strongest(graph, shares)
          : scales[index] * (most(now.x) || 1) },
      badges: badges(graph, edits), differs: differences[index], pins: now.pins,
      by: now.by, level: now.level, input: inputPicture(),
      selected: now.pane === index ? now.selected : null,
    };
  };

  const scratch = document.createElement("canvas");
  const inputPicture = () =>
    first.image && pictures.input(scratch, paper, now.x).toDataURL();

  return { make };
})();
