// Pictures: from the model to canvases, and from files to what the model takes.

/** Draw a picture (H, W, C) of numbers between 0 and 1 on a canvas, which takes its size. */
function draw(canvas, picture, { channels, height, width }) {
  if (canvas.width !== width || canvas.height !== height) {
    [canvas.width, canvas.height] = [width, height];
  }
  const image = new ImageData(width, height);
  for (let i = 0, at = 0; at < image.data.length; i += channels, at += 4) {
    for (let channel = 0; channel < 3; channel++) {
      // Uint8ClampedArray rounds to the nearest byte.
      image.data[at + channel] = 255 * picture[channels === 1 ? i : i + channel];
    }
    image.data[at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** A PNG of a canvas, each pixel a square of so many that the shorter side has at least 512. */
function pngOf(canvas) {
  const scale = Math.ceil(512 / Math.min(canvas.width, canvas.height));
  const large = document.createElement("canvas");
  [large.width, large.height] = [scale * canvas.width, scale * canvas.height];
  const context = large.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, 0, 0, large.width, large.height);
  return new Promise((resolve) => large.toBlob(resolve, "image/png"));
}

const MOST_PIXELS = 2 ** 26;

/**
 * A picture file as the model takes it, (H, W, C) between 0 and 1: the largest centred crop of the
 * model's aspect, transparency on white, grey where the model is, resized as training does.
 */
async function readPicture(file, { channels, height, width }) {
  const bitmap = await createImageBitmap(file);
  if (bitmap.width * bitmap.height > MOST_PIXELS) {
    throw new RangeError("it has more than 67 million pixels");
  }
  const wide = Math.min(bitmap.width, Math.max(1, roundToEven((bitmap.height * width) / height)));
  const high = Math.min(bitmap.height, Math.max(1, roundToEven((bitmap.width * height) / width)));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [wide, high];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, wide, high);
  context.drawImage(
    bitmap,
    -roundToEven((bitmap.width - wide) / 2),
    -roundToEven((bitmap.height - high) / 2),
  );
  bitmap.close();
  const bytes = context.getImageData(0, 0, wide, high).data;
  const pixels = new Float32Array(wide * high * channels);
  for (let i = 0; i < wide * high; i++) {
    const red = bytes[4 * i];
    const green = bytes[4 * i + 1];
    const blue = bytes[4 * i + 2];
    if (channels === 1) {
      // The luma of ITU-R 601-2, as Pillow has it.
      pixels[i] = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16;
    } else {
      pixels[3 * i] = red;
      pixels[3 * i + 1] = green;
      pixels[3 * i + 2] = blue;
    }
  }
  const narrow = resized(pixels, high, wide, channels, width);
  return resized(narrow, 1, high, width * channels, height).map((byte) => byte / 255);
}

/** As Python rounds: a half goes to the even number. */
function roundToEven(number) {
  const rounded = Math.round(number);
  return rounded - number === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

/**
 * Resize the middle axis of bytes (outer, length, inner). Each new one is a mean weighted by a
 * triangle, which reaches as far as two new pixels lie apart: Pillow's bilinear resizing.
 */
function resized(pixels, outer, length, inner, newLength) {
  if (length === newLength) return pixels;
  const scale = length / newLength;
  const reach = Math.max(scale, 1);
  const result = new Float32Array(outer * newLength * inner);
  for (let to = 0; to < newLength; to++) {
    const centre = (to + 0.5) * scale;
    const first = Math.max(0, Math.round(centre - reach));
    const last = Math.min(length, Math.round(centre + reach));
    const weights = [];
    for (let from = first; from < last; from++) {
      weights.push(Math.max(0, 1 - Math.abs(from + 0.5 - centre) / reach));
    }
    const sum = weights.reduce((a, b) => a + b);
    for (let block = 0; block < outer; block++) {
      const target = (block * newLength + to) * inner;
      for (let i = 0; i < weights.length; i++) {
        const source = (block * length + first + i) * inner;
        const share = weights[i] / sum;
        for (let j = 0; j < inner; j++) result[target + j] += share * pixels[source + j];
      }
    }
  }
  return result.map(Math.round);
}
