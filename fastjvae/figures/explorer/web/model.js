// The model of this page: sample rows in, pictures out, and back.

/** Encoder and decoder of one picture at a time, all numbers between 0 and 1. */
class Model {
  /**
   * @param facts what Python wrote of the model, see contents.py
   * @param encoder, decoder base64 of their numbers
   */
  constructor(facts, encoder, decoder) {
    const [channels, height, width] = facts.img_size;
    const { cont, disc } = facts.latent_spec;
    Object.assign(this, { facts, channels, height, width, cont, disc });
    this.pixels = channels * height * width;
    this.rowLength = disc.reduce((sum, size) => sum + size, cont);
    const halvings = facts.encoder.filter(({ kind }) => kind === "convolution").length;
    const smallest = [height / 2 ** halvings, width / 2 ** halvings];
    this.encoder = new Network(facts.encoder, numbersOfBase64(encoder), [height, width]);
    this.decoder = new Network(facts.decoder, numbersOfBase64(decoder), smallest);
  }

  /** The picture (H, W, C) of a sample row; the next call overwrites it. */
  decode(row) {
    const picture = this.decoder.run(row);
    const mean = MEANS[this.facts.likelihood];
    for (let i = 0; i < picture.length; i++) picture[i] = mean(picture[i]);
    return picture;
  }

  /** What a picture (H, W, C) is encoded as: {mean, logvar, probabilities of each variable}. */
  encode(picture) {
    const parameters = this.encoder.run(picture);
    let at = 2 * this.cont;
    return {
      mean: parameters.slice(0, this.cont),
      logvar: parameters.slice(this.cont, at),
      probabilities: this.disc.map((size) => softmax(parameters.subarray(at, (at += size)))),
    };
  }
}

/** The mean of a pixel, 0 to 1, by its logit; the fields are the likelihoods. */
const MEANS = {
  bernoulli: (logit) => 1 / (1 + Math.exp(-logit)),
  gaussian: (logit) => Math.min(1, Math.max(0, 0.5 + 0.25 * logit)),
};

function softmax(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** Pixels (H, W, C) of (C, H, W), or the other way about. */
function reordered(pixels, { channels, height, width }, toChannelsLast) {
  const area = height * width;
  const moved = new Float32Array(pixels.length);
  for (let channel = 0; channel < channels; channel++) {
    for (let i = 0; i < area; i++) {
      const first = channel * area + i;
      const last = i * channels + channel;
      if (toChannelsLast) moved[last] = pixels[first];
      else moved[first] = pixels[last];
    }
  }
  return moved;
}

/**
 * `window.fastjvae`: the model for scripts. Arrays are flat, of any number of pictures or rows one
 * after the other, pictures as (C, H, W) in the model's value range.
 */
function scripting(model) {
  const { name, img_size, latent_spec, value_range } = model.facts;
  const [lowest, highest] = value_range;

  /** n sample rows (n * L numbers) -> n pictures, a Float32Array of n * C * H * W. */
  function decode(rows) {
    const parts = partsOf(rows, model.rowLength, "sample rows", "L");
    const pictures = new Float32Array(parts.length * model.pixels);
    parts.forEach((row, i) => {
      const picture = reordered(model.decode(row), model, false);
      pictures.set(
        picture.map((pixel) => lowest + (highest - lowest) * pixel),
        i * model.pixels,
      );
    });
    return pictures;
  }

  /**
   * n pictures (n * C * H * W numbers) -> {mean, logvar: n * Z each, probabilities: n * K of each
   * discrete variable}, Float32Arrays.
   */
  function encode(pictures) {
    const found = partsOf(pictures, model.pixels, "pictures", "C * H * W").map((picture) => {
      const unit = picture.map((pixel) => (pixel - lowest) / (highest - lowest));
      return model.encode(reordered(unit, model, true));
    });
    const joined = (of) => Float32Array.from(found.flatMap((each) => [...of(each)]));
    return {
      mean: joined(({ mean }) => mean),
      logvar: joined(({ logvar }) => logvar),
      probabilities: model.disc.map((_, d) => joined(({ probabilities }) => probabilities[d])),
    };
  }

  return Object.freeze({ model: { name, img_size, latent_spec, value_range }, encode, decode });
}

/** A flat array in parts of one length; TypeError if it has another one. */
function partsOf(numbers, length, what, symbols) {
  const flat = Float32Array.from(numbers);
  if (flat.length % length || flat.some(Number.isNaN)) {
    throw new TypeError(
      `${what} are a flat array of n * ${symbols} = n * ${length} numbers, got ${flat.length}` +
        (flat.some(Number.isNaN) ? ", not all of them numbers" : ""),
    );
  }
  return Array.from({ length: flat.length / length }, (_, i) =>
    flat.subarray(i * length, (i + 1) * length),
  );
}
