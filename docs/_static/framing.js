// Brings a drawing to the size and place of a net's training images, as zoo/data/framing.py.
"use strict";
const zooFraming = (() => {
  const INK = 0.25; // anything fainter does not count for a drawing's box

  // An image is {height, width, data}, 0 (ground) to 1 (ink). Null if nothing is drawn.
  function box({ height, width, data }) {
    let [top, bottom, left, right] = [height, 0, width, 0];
    data.forEach((ink, index) => {
      if (ink <= INK) return;
      const [row, column] = [Math.floor(index / width), index % width];
      [top, bottom] = [Math.min(top, row), Math.max(bottom, row + 1)];
      [left, right] = [Math.min(left, column), Math.max(right, column + 1)];
    });
    return bottom ? { top, bottom, left, right } : null;
  }

  function cropped({ width, data }, { top, bottom, left, right }) {
    const part = { height: bottom - top, width: right - left, data: [] };
    for (let row = top; row < bottom; row++)
      part.data.push(...data.slice(row * width + left, row * width + right));
    return part;
  }

  function bicubic(distance) {
    const x = Math.abs(distance);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((2.5 - 0.5 * x) * x - 4) * x + 2 : 0;
  }

  // Pillow's bicubic filter along the width; the result is turned: its rows are the columns.
  function resizedAndTurned(image, width) {
    const scale = image.width / width;
    const widened = Math.max(scale, 1); // so that nothing between two pixels is lost
    const turned = { height: width, width: image.height, data: [] };
    for (let index = 0; index < width; index++) {
      const centre = (index + 0.5) * scale;
      const first = Math.max(0, Math.trunc(centre - 2 * widened + 0.5));
      const last = Math.min(image.width, Math.trunc(centre + 2 * widened + 0.5));
      const weights = [];
      for (let x = first; x < last; x++) weights.push(bicubic((x + 0.5 - centre) / widened));
      const sum = weights.reduce((a, b) => a + b);
      for (let row = 0; row < image.height; row++) {
        const start = row * image.width + first;
        const value = weights.reduce((all, weight, k) => all + weight * image.data[start + k], 0);
        turned.data.push(value / sum);
      }
    }
    return turned;
  }

  function resized(image, height, width) {
    const result = resizedAndTurned(resizedAndTurned(image, width), height);
    result.data = result.data.map((ink) => Math.min(1, Math.max(0, ink)));
    return result;
  }

  // [row, column] in pixels.
  function centre(image, byMass) {
    if (!byMass) {
      const { top, bottom, left, right } = box(image);
      return [(top + bottom) / 2, (left + right) / 2];
    }
    let [mass, rows, columns] = [0, 0, 0];
    image.data.forEach((ink, index) => {
      mass += ink;
      rows += ink * (Math.floor(index / image.width) + 0.5);
      columns += ink * ((index % image.width) + 0.5);
    });
    return [rows / mass, columns / mass];
  }

  // The levels, 0 to 1, of an image of that size; null if nothing is drawn.
  // The framing is the entry of a net's config.json or of the index of weights.
  function place(drawing, framing, height, width) {
    const around = box(drawing);
    if (!around) return null;
    const drawn = cropped(drawing, around);
    const longest = Math.max(drawn.height / height, drawn.width / width);
    const fitted = (length, most) =>
      Math.min(most, Math.max(1, Math.round((length * framing.side) / longest)));
    const scaled = resized(drawn, fitted(drawn.height, height), fitted(drawn.width, width));
    const strongest = Math.max(...scaled.data); // thin strokes have become fainter
    const [row, column] = centre(scaled, framing.by_mass);
    const start = (wanted, own, whole, part) =>
      Math.min(whole - part, Math.max(0, Math.round(wanted * whole - own)));
    const top = start(framing.row, row, height, scaled.height);
    const left = start(framing.column, column, width, scaled.width);
    const seen = new Float32Array(height * width).fill(framing.ground);
    scaled.data.forEach((ink, index) => {
      const [y, x] = [Math.floor(index / scaled.width), index % scaled.width];
      const level = framing.ground + (ink / strongest) * (framing.ink - framing.ground);
      seen[(top + y) * width + left + x] = Math.round(255 * level) / 255; // as in a file
    });
    return { height, width, data: seen };
  }

  return { place };
})();
