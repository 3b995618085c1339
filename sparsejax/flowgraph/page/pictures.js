// Pictures that the page computes itself: weights, weights times input, inputs. Each is
// one pixel a number and is enlarged where it is shown. They follow theme and palette.
const pictures = (() => {
  const rgb = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);
  let table = null; // colours of -1 .. 1 in 255 steps, and of 0 .. 1 from paper to ink
  const colors = () => {
    if (table) return table;
    const [paper, ink] = ["surface", "ink"].map((name) => rgb(sj.color(name)));
    const steps = [...Array(255).keys()];
    return (table = {
      signed: steps.map((i) => rgb(sj.sign.color((i - 127) / 127))),
      grey: steps.map((i) => paper.map((from, c) => from + ((ink[c] - from) * i) / 254)),
    });
  };
  sj.onchange(() => { table = null; });

  const clip = (value) => Math.min(1, Math.max(-1, value || 0));
  const signed = (value) => colors().signed[Math.round(127 + 127 * clip(value))];
  const grey = (value) => colors().grey[Math.round(254 * Math.max(0, clip(value)))];

  const draw = (canvas, width, height, color) => {
    Object.assign(canvas, { width, height });
    const pixels = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) pixels.data.set([...color(i), 255], 4 * i);
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  };

  // The part [top, left, height, width] of the picture that some inputs lie in.
  const extent = (image, positions) => {
    const [, width, depth = 1] = image;
    const rows = positions.map((at) => Math.floor(at / (width * depth)));
    const columns = positions.map((at) => Math.floor(at / depth) % width);
    const [top, left] = [rows, columns].map((list) => Math.min(...list));
    return [top, left, Math.max(...rows) - top + 1, Math.max(...columns) - left + 1];
  };

  // Whether these are filters that look at small patches, as convolutions do.
  const small = (image, extents) => {
    const area = (image[0] * image[1]) / 4;
    const few = extents.filter(([, , height, width]) => height * width <= area);
    return few.length > 0.9 * extents.length;
  };

  // A canvas of the numbers at some inputs within an extent, zero elsewhere; a picture
  // beside the other for each channel.
  const map = (canvas, image, positions, numbers, scale, [top, left, height, width]) => {
    const [, across, depth = 1] = image;
    const cells = new Float64Array(height * width * depth);
    positions.forEach((at, i) => {
      const row = Math.floor(at / (across * depth)) - top;
      const column = (Math.floor(at / depth) % across) - left;
      cells[(row * depth + (at % depth)) * width + column] = numbers[i];
    });
    return draw(canvas, width * depth, height, (i) => signed(cells[i] / (scale || 1)));
  };

  // A canvas of an input that is a picture, from paper (low) to ink (high), or in colour.
  const input = (canvas, { image, low, high }, x) => {
    const [height, width, depth = 1] = image;
    const part = (i) => (x[i] - low[i]) / (high[i] - low[i] || 1);
    const color = depth === 3
      ? (i) => [0, 1, 2].map((c) => 255 * Math.max(0, clip(part(3 * i + c))))
      : (i) => grey(part(depth * i));
    return draw(canvas, width, height, color);
  };

  return { extent, small, map, input };
})();
