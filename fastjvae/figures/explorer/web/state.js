// The latent variables as they stand, and the URL's fragment that says so.

const FARTHEST = 99; // value of a unit in a fragment; beyond it numbers overflow, and the page's line

/** A latent variable as figures name it: z3, c0. */
const nameOf = ({ kind, number }) => `${kind}${number}`;

/** Where sliders, buttons, links and pictures meet: whoever changes it, all listeners are told. */
class State {
  /** @param facts what Python wrote of the model */
  constructor(facts) {
    const { cont, disc } = facts.latent_spec;
    Object.assign(this, { cont, disc, start: facts.start, steps: facts.values });
    this.listeners = [];
    this.clear();
  }

  clear() {
    this.units = new Array(this.cont).fill(0);
    this.categories = [...this.start];
  }

  /** Change some variables, such as {z3: 1.2, c0: 4}, or begin `from` the start. */
  change(values, { fromStart = false } = {}) {
    if (fromStart) this.clear();
    for (const [name, value] of Object.entries(values)) {
      const number = Number(name.slice(1));
      if (name[0] === "z") this.units[number] = value;
      else this.categories[number] = value;
    }
    for (const listener of this.listeners) listener();
  }

  valueOf({ kind, number }) {
    return kind === "z" ? this.units[number] : this.categories[number];
  }

  /** The sample row, with some variables at other values. */
  row(values = {}) {
    const row = new Float32Array(this.cont + this.disc.reduce((a, b) => a + b, 0));
    this.units.forEach((value, number) => (row[number] = values[`z${number}`] ?? value));
    let at = this.cont;
    this.disc.forEach((size, number) => {
      row[at + (values[`c${number}`] ?? this.categories[number])] = 1;
      at += size;
    });
    return row;
  }

  /** A draw of the prior: normal units, each category as likely. */
  random() {
    const values = {};
    this.units.forEach((_, number) => {
      const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
      values[`z${number}`] = radius * Math.cos(2 * Math.PI * Math.random());
    });
    this.disc.forEach((size, number) => {
      values[`c${number}`] = Math.floor(size * Math.random());
    });
    this.change(values);
  }

  /** What differs from the start, such as z3=1.2&c0=4. */
  get fragment() {
    const differing = [];
    this.units.forEach((value, number) => {
      const rounded = Number(value.toFixed(3));
      if (rounded) differing.push(`z${number}=${rounded}`);
    });
    this.categories.forEach((category, number) => {
      if (category !== this.start[number]) differing.push(`c${number}=${category}`);
    });
    return differing.join("&");
  }

  /** The value that a fragment means, which has three decimals: an end of a slider is its end. */
  unrounded(value) {
    const near = this.steps.find((step) => Math.abs(step - value) < 6e-4);
    return near ?? Math.min(FARTHEST, Math.max(-FARTHEST, value));
  }

  /** Take up a fragment; what the model does not have, or is no number, is left out. */
  read(fragment) {
    const values = {};
    for (const [name, text] of new URLSearchParams(fragment.replace(/^#/, ""))) {
      const [, kind, number] = name.match(/^([zc])(\d+)$/) ?? [];
      const value = Number(text);
      if (!text || !Number.isFinite(value)) continue;
      if (kind === "z" && number < this.cont) values[`z${Number(number)}`] = this.unrounded(value);
      const isCategory = Number.isInteger(value) && value >= 0 && value < this.disc[number];
      if (kind === "c" && isCategory) values[`c${Number(number)}`] = value;
    }
    this.change(values, { fromStart: true });
  }
}
