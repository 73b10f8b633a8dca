// Nets of the zoo in plain JavaScript: reads a safetensors file and answers one image.
"use strict";
const zooNet = (() => {
  // An array is {shape, data}, with the last axis fastest.

  function fromHalf(bits) {
    const sign = bits >> 15 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
  }

  const READERS = {
    F16: (buffer) => Float32Array.from(new Uint16Array(buffer), fromHalf),
    F32: (buffer) => new Float32Array(buffer),
  };

  // {"params/conv_1/kernel": array, ...} of a file in an ArrayBuffer.
  function readSafetensors(buffer) {
    const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8)));
    delete header.__metadata__;
    return Object.fromEntries(
      Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
        if (!READERS[dtype]) throw new Error(`${name} is of type ${dtype}, not F16 or F32`);
        return [name, { shape, data: READERS[dtype](buffer.slice(start + from, start + to)) }];
      }),
    );
  }

  // Output length and padding before the first pixel of an axis, as in TensorFlow.
  function windows(length, window, stride, padding) {
    if (padding === "VALID") return [Math.floor((length - window) / stride) + 1, 0];
    const count = Math.ceil(length / stride);
    return [count, Math.max(0, (count - 1) * stride + window - length) >> 1];
  }

  // The output of windows over an image, each pixel with these channels.
  function filled(shape, window, stride, padding, channels) {
    const [rows, columns] = [0, 1].map((k) => windows(shape[k], window, stride, padding)[0]);
    const data = new Float32Array(rows * columns * channels.length);
    for (let k = 0; k < rows * columns; k++) data.set(channels, k * channels.length);
    return { shape: [rows, columns, channels.length], data };
  }

  // Calls visit(output pixel, input pixel, place in the window) for all that lie in the image.
  function slide([height, width], window, stride, padding, visit) {
    const [rows, above] = windows(height, window, stride, padding);
    const [columns, before] = windows(width, window, stride, padding);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        for (let i = 0; i < window; i++) {
          const y = row * stride - above + i;
          if (y < 0 || y >= height) continue;
          for (let j = 0; j < window; j++) {
            const x = column * stride - before + j;
            if (x < 0 || x >= width) continue;
            visit(row * columns + column, y * width + x, i * window + j);
          }
        }
  }

  // output += x @ kernel, whose rows are as long as the output.
  function addProduct(output, x, kernel) {
    for (let c = 0; c < x.length; c++) {
      if (x[c] === 0) continue; // as most are after a ReLU
      const row = c * output.length;
      for (let f = 0; f < output.length; f++) output[f] += x[c] * kernel[row + f];
    }
  }

  const part = (data, index, length) => data.subarray(index * length, (index + 1) * length);
  const relu = ({ shape, data }) => ({ shape, data: data.map((value) => Math.max(0, value)) });

  function linear(x, { kernel, bias }) {
    const data = bias.data.slice();
    addProduct(data, x.data, kernel.data);
    return { shape: bias.shape, data };
  }

  // By kind of layer, with the defaults of zoo/models/layers.py.
  const LAYERS = {
    Conv(x, { kernel_size: window, padding = "VALID" }, { kernel, bias }) {
      const [inputs, outputs] = kernel.shape.slice(2);
      const { shape, data } = filled(x.shape, window, 1, padding, bias.data);
      slide(x.shape, window, 1, padding, (to, from, at) =>
        addProduct(
          part(data, to, outputs),
          part(x.data, from, inputs),
          part(kernel.data, at, inputs * outputs),
        ),
      );
      return relu({ shape, data });
    },

    Crop(x, { border }) {
      const [height, width, channels] = x.shape;
      const shape = [height - 2 * border, width - 2 * border, channels];
      const row = shape[1] * channels;
      const data = new Float32Array(shape[0] * row);
      for (let i = 0; i < shape[0]; i++) {
        const from = ((i + border) * width + border) * channels;
        data.set(x.data.subarray(from, from + row), i * row);
      }
      return { shape, data };
    },

    MaxPool(x, { window, stride = window, padding = "VALID" }) {
      const channels = x.shape[2];
      const lowest = new Float32Array(channels).fill(-Infinity);
      const { shape, data } = filled(x.shape, window, stride, padding, lowest);
      slide(x.shape, window, stride, padding, (to, from) => {
        const output = part(data, to, channels);
        for (let c = 0; c < channels; c++)
          output[c] = Math.max(output[c], x.data[from * channels + c]);
      });
      return { shape, data };
    },

    BatchNorm(x, { epsilon = 1e-3 }, { scale, bias, mean, var: variance }) {
      const data = x.data.map((value, index) => {
        const c = index % mean.data.length;
        const normal = (value - mean.data[c]) / Math.sqrt(variance.data[c] + epsilon);
        return normal * scale.data[c] + bias.data[c];
      });
      return { shape: x.shape, data };
    },

    Dropout: (x) => x,
    Flatten: (x) => ({ shape: [x.data.length], data: x.data }),
    Dense: (x, _, parameters) => relu(linear(x, parameters)),
    Head: (x, _, parameters) => linear(x, parameters),
  };

  // What of a layer is computed here: with another setting it is refused, not answered wrongly.
  const SETTINGS = {
    Conv: ["features", "kernel_size", "padding", "kernel_init"],
    Crop: ["border"],
    MaxPool: ["window", "stride", "padding"],
    BatchNorm: ["momentum", "epsilon"],
    Dropout: ["rate"],
    Flatten: [],
    Dense: ["features", "kernel_init"],
    Head: ["kernel_init"],
  };

  const STEMS = { Conv: "conv", BatchNorm: "batch_norm", Dense: "dense" }; // of names

  // {kernel, bias, ...} of the layer of that name.
  function parametersOf(arrays, name) {
    const found = Object.entries(arrays).map(([path, array]) => [path.split("/"), array]);
    return Object.fromEntries(
      found.filter(([path]) => path[1] === name).map(([path, array]) => [path[2], array]),
    );
  }

  // The logits, a Float32Array, of an image {shape: [height, width, channels], data}, 0 to 1.
  // Layers are a list as zoo/models/layer_lists.py gives it.
  function logits(layers, arrays, image) {
    const counts = {};
    return layers.reduce((x, layer) => {
      const { kind, ...settings } = layer;
      if (!LAYERS[kind]) throw new Error(`unknown kind of layer: ${kind}`);
      const unknown = Object.keys(settings).filter((key) => !SETTINGS[kind].includes(key));
      if (unknown.length) throw new Error(`unknown setting of ${kind}: ${unknown[0]}`);
      counts[kind] = (counts[kind] ?? 0) + 1;
      const name = kind === "Head" ? "head" : `${STEMS[kind]}_${counts[kind]}`;
      return LAYERS[kind](x, layer, parametersOf(arrays, name));
    }, image).data;
  }

  function softmax(values) {
    const most = Math.max(...values);
    const powers = Array.from(values, (value) => Math.exp(value - most));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / sum);
  }

  return { readSafetensors, logits, softmax };
})();
