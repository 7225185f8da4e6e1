// A slider for every continuous unit, a button for every category.

const MOST_THUMBNAILS = 24; // of a variable; categories of larger ones are text alone
const LEAST_EFFECT = 0.02; // of a unit on the picture; those with less are folded away
// How far a key moves a slider, in hundredths of its way. Left to themselves, browsers differ: with
// a step of "any" Firefox goes by whole numbers, three places of a unit.
const KEYS = {
  ArrowLeft: -1,
  ArrowDown: -1,
  ArrowRight: 1,
  ArrowUp: 1,
  PageDown: -10,
  PageUp: 10,
};

/** A slider with its value, its KL and its effect. `look` is told of the unit that is looked at. */
function unitControl(entry, facts, state, look) {
  const latent = { kind: "z", number: entry.unit };
  const name = nameOf(latent);
  const [first, last] = [facts.values[0], facts.values.at(-1)];
  const [lowest, highest] = [Math.min(first, last), Math.max(first, last)];
  // step "any": a picture for every pixel of a drag.
  const slider = element("input", {
    type: "range",
    id: name,
    step: "any",
    "aria-describedby": `${name}-known`,
  });
  const isIdle = entry.effect !== null && entry.effect < LEAST_EFFECT;
  // Said with the slider that has the focus; as a live region each would speak on "Random".
  const value = element("output", { htmlFor: name, "aria-live": "off" });
  const meter = element("span", { className: "meter", "aria-hidden": "true" });
  meter.style.setProperty("--share", Math.min(1, entry.effect ?? 0));
  const box = element(
    "div",
    { className: "unit" },
    element("label", { htmlFor: name }, name),
    slider,
    value,
    meter,
    element("p", { className: "note", id: `${name}-known` }, knownOf(entry)),
  );
  slider.addEventListener("input", () => state.change({ [name]: slider.valueAsNumber }));
  slider.addEventListener("keydown", (event) => {
    const hundredths = KEYS[event.key];
    if (!hundredths || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [least, most] = [Number(slider.min), Number(slider.max)];
    const value = slider.valueAsNumber + (hundredths * (most - least)) / 100;
    state.change({ [name]: Math.min(most, Math.max(least, value)) });
  });
  slider.addEventListener("dblclick", () => state.change({ [name]: 0 }));
  box.addEventListener("pointerenter", () => look(latent));
  box.addEventListener("focusin", () => look(latent));
  state.listeners.push(() => {
    const now = state.valueOf(latent);
    // Codes of pictures may lie outside: the slider grows by halves as far as it must. Its own ends
    // come back rounded to 15 digits.
    slider.min = now < lowest - 1e-6 ? Math.floor(2 * now) / 2 : lowest;
    slider.max = now > highest + 1e-6 ? Math.ceil(2 * now) / 2 : highest;
    slider.value = now;
    slider.setAttribute("aria-valuetext", decimal(now));
    value.value = decimal(now);
  });
  return { box, latent, isIdle };
}

/** The categories of a discrete variable as radio buttons, each with its picture and its share. */
function categoryControl(number, facts, state, painter) {
  const entry = facts.variables[number];
  const name = `c${number}`;
  const hasThumbnails = entry.categories.length <= MOST_THUMBNAILS;
  const choices = entry.categories.map(({ share }, category) => {
    const radio = element("input", { type: "radio", name, value: category });
    radio.addEventListener("change", () => state.change({ [name]: category }));
    const canvas = element("canvas", { "aria-hidden": "true" });
    const text = element("span", { className: "name" }, categoryText(facts, number, category));
    const label = element("label", { className: "category" }, radio);
    if (hasThumbnails) label.append(canvas);
    label.append(text);
    if (share !== null) {
      label.append(element("span", { className: "share" }, percent(share)));
      label.classList.toggle("unused", share === 0);
    }
    return { radio, canvas, label };
  });
  state.listeners.push(() => {
    const chosen = state.categories[number];
    choices.forEach(({ radio, canvas }, category) => {
      radio.checked = category === chosen;
      if (hasThumbnails) painter.want(canvas, state.row({ [name]: category }));
    });
  });
  return element(
    "fieldset",
    { className: "categories" },
    element(
      "legend",
      {},
      `Categories of ${name} `,
      element("span", { className: "note" }, knownOf(entry)),
    ),
    element("div", { className: "choices" }, ...choices.map(({ label }) => label)),
  );
}
