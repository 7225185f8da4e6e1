// The networks in plain JavaScript: encoder and decoder as the page's own numbers describe them.

/** Half-precision numbers of base64 text, little-endian, as single-precision ones. */
function numbersOfBase64(text) {
  const bytes = atob(text.trim());
  const numbers = new Float32Array(bytes.length / 2);
  for (let i = 0; i < numbers.length; i++) {
    const half = bytes.charCodeAt(2 * i) | (bytes.charCodeAt(2 * i + 1) << 8);
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    // Exponent 0 is of the subnormal numbers; infinities and NaN are never written.
    const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
    numbers[i] = half & 0x8000 ? -size : size;
  }
  return numbers;
}

/**
 * Sums of inputs times weights.
 *
 * After a ReLU half to four fifths of the inputs are 0. Those that are not are gathered once, then
 * every block of four outputs reads weights one after the other in memory, with its four sums in
 * registers.
 */
class Sums {
  constructor(mostInputs) {
    this.values = new Float32Array(mostInputs);
    this.places = new Int32Array(mostInputs); // of their weights in a block
    this.count = 0;
  }

  /** Take up inputs: so many rows of a length, their starts a stride apart. */
  gather(inputs, start, length, rows = 1, stride = 0) {
    let count = 0;
    let place = 0;
    for (let row = 0; row < rows; row++) {
      const from = start + row * stride;
      for (let i = from; i < from + length; i++, place += 4) {
        const value = inputs[i];
        if (value !== 0) {
          this.values[count] = value;
          this.places[count++] = place;
        }
      }
    }
    this.count = count;
    this.blockSize = place;
  }

  /** Write the outputs of the gathered inputs to `target` from `at` on. */
  write(weights, biases, outputs, rectified, target, at) {
    const { values, places, count, blockSize } = this;
    for (let output = 0, block = 0; output < outputs; output += 4, block += blockSize) {
      let a = biases[output];
      let b = biases[output + 1];
      let c = biases[output + 2];
      let d = biases[output + 3];
      for (let i = 0; i < count; i++) {
        const value = values[i];
        const weight = block + places[i];
        a += value * weights[weight];
        b += value * weights[weight + 1];
        c += value * weights[weight + 2];
        d += value * weights[weight + 3];
      }
      if (rectified) {
        if (a < 0) a = 0;
        if (b < 0) b = 0;
        if (c < 0) c = 0;
        if (d < 0) d = 0;
      }
      const left = outputs - output;
      const to = at + output;
      target[to] = a;
      if (left > 1) target[to + 1] = b;
      if (left > 2) target[to + 2] = c;
      if (left > 3) target[to + 3] = d;
    }
  }
}

/** A network whose layers keep their outputs, so that a run allocates nothing. */
class Network {
  /**
   * @param layers {kind, inputs, outputs, rectified} each
   * @param numbers weights and biases of all layers, see weights.py
   * @param sides [height, width] of the images that the first convolution reads
   */
  constructor(layers, numbers, sides) {
    let [height, width] = sides;
    let at = 0;
    const take = (length) => numbers.subarray(at, (at += length));
    this.layers = layers.map((layer) => {
      const { kind, inputs, outputs } = layer;
      const fanIn = { dense: 1, convolution: 16, transposed: 4 }[kind] * inputs;
      const padded = 4 * Math.ceil(outputs / 4);
      const groups = Array.from({ length: kind === "transposed" ? 4 : 1 }, () =>
        take(fanIn * padded),
      );
      const made = { ...layer, groups, biases: take(padded), sums: new Sums(fanIn) };
      let pixels = 1;
      if (kind !== "dense") {
        Object.assign(made, { height, width });
        made.bordered = new Float32Array((height + 2) * (width + 2) * inputs);
        const scale = kind === "transposed" ? 2 : 0.5;
        [height, width] = [height * scale, width * scale];
        pixels = height * width;
      }
      made.result = new Float32Array(pixels * outputs);
      return made;
    });
  }

  /** The outputs of inputs, (H, W, C) where they are images; the next run overwrites them. */
  run(inputs) {
    for (const layer of this.layers) {
      if (layer.kind === "dense") runDense(layer, inputs);
      else if (layer.kind === "convolution") runConvolution(layer, inputs);
      else runTransposed(layer, inputs);
      inputs = layer.result;
    }
    return inputs;
  }
}

function runDense({ sums, inputs: length, groups, biases, outputs, rectified, result }, inputs) {
  sums.gather(inputs, 0, length);
  sums.write(groups[0], biases, outputs, rectified, result, 0);
}

/** A pixel of the result sees 4x4 pixels, from one pixel above and left of twice its place. */
function runConvolution(layer, inputs) {
  const { sums, inputs: channels, groups, biases, outputs, rectified, result } = layer;
  const stride = addBorder(layer, inputs);
  let at = 0;
  for (let y = 0; y < layer.height; y += 2) {
    for (let x = 0; x < layer.width; x += 2, at += outputs) {
      sums.gather(layer.bordered, y * stride + x * channels, 4 * channels, 4, stride);
      sums.write(groups[0], biases, outputs, rectified, result, at);
    }
  }
}

/**
 * Each 2x2 pixels of the input with its border make up to four pixels of the result, one for each
 * parity of its row and column; they share what is gathered.
 */
function runTransposed(layer, inputs) {
  const { sums, inputs: channels, height, width, groups, biases, outputs, rectified } = layer;
  const stride = addBorder(layer, inputs);
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      sums.gather(layer.bordered, y * stride + x * channels, 2 * channels, 2, stride);
      for (let parity = 0; parity < 4; parity++) {
        const row = 2 * y - (parity >> 1);
        const column = 2 * x - (parity & 1);
        if (row < 0 || column < 0 || row >= 2 * height || column >= 2 * width) continue;
        const at = (row * 2 * width + column) * outputs;
        sums.write(groups[parity], biases, outputs, rectified, layer.result, at);
      }
    }
  }
}

/** Copy an image into the layer's frame of zeros, a pixel wide; returns the length of its rows. */
function addBorder({ bordered, inputs: channels, height, width }, image) {
  const length = width * channels;
  const stride = length + 2 * channels;
  for (let y = 0; y < height; y++) {
    bordered.set(image.subarray(y * length, (y + 1) * length), (y + 1) * stride + channels);
  }
  return stride;
}
