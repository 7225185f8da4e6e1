// The page: everything is built from the facts, and meets in the state.

const facts = JSON.parse(byId("facts").textContent);
const model = new Model(facts, byId("encoder").textContent, byId("decoder").textContent);
const state = new State(facts);
const painter = new Painter(model, byId("picture"));
window.fastjvae = scripting(model);

buildTheme();
buildAbout();
const strip = new PictureTable(byId("strip"), facts, state, painter, false);
buildControls();
buildGrid();
buildActions();
takePictures(model, state);
state.listeners.push(() => painter.show(state.row()), describePicture, keepFragment());
addEventListener("hashchange", () => {
  if (location.hash.slice(1) !== state.fragment) state.read(location.hash);
});
state.read(location.hash);

function buildAbout() {
  const [channels, height, width] = facts.img_size;
  const size = `${height} × ${width} pixels${channels === 1 ? ", grey" : ""}`;
  byId("about").textContent = [facts.data, size].filter(Boolean).join(" · ");
  byId("version").textContent = `fastjvae ${facts.version}`;
}

function buildControls() {
  byId("categories").append(
    ...facts.variables.map((_, number) => categoryControl(number, facts, state, painter)),
  );
  let shown = null;
  const look = (latent) => {
    if (shown === latent) return;
    shown = latent;
    strip.show(latent);
    for (const { box, latent: of } of units) box.classList.toggle("looked-at", of === latent);
  };
  const units = facts.units.map((entry) => unitControl(entry, facts, state, look));
  const moving = units.filter(({ isIdle }) => !isIdle);
  const idle = units.filter(({ isIdle }) => isIdle);
  byId("sliders").append(...(moving.length ? moving : units).map(({ box }) => box));
  byId("idle").hidden = !moving.length || !idle.length;
  if (moving.length) byId("idle-sliders").append(...idle.map(({ box }) => box));
  byId("idle-title").textContent = `${idle.length} more, which hardly change the picture`;
  byId("units").hidden = !units.length;
  byId("units-note").textContent =
    "The one that changes the picture most comes first. A row of pictures shows what the one that" +
    " you point at does.";
  if (units.length) look(units[0].latent);
}

/** Two variables across each other: by default the categories and the strongest unit. */
function buildGrid() {
  const latents = [
    ...facts.variables.map((_, number) => ({ kind: "c", number })),
    ...facts.units.map(({ unit }) => ({ kind: "z", number: unit })),
  ];
  byId("grid").hidden = latents.length < 2;
  if (latents.length < 2) return;
  const table = new PictureTable(byId("grid-table"), facts, state, painter, true);
  const [rows, columns] = [byId("rows"), byId("columns")];
  for (const select of [rows, columns]) {
    select.append(...latents.map((each, i) => element("option", { value: i }, nameOf(each))));
  }
  columns.value = Math.min(Math.max(facts.variables.length, 1), latents.length - 1);
  const show = (changed) => {
    // One variable cannot be both: the other makes way.
    const other = changed === rows ? columns : rows;
    if (rows.value === columns.value) other.value = (Number(other.value) + 1) % latents.length;
    table.show(latents[columns.value], latents[rows.value]);
  };
  rows.addEventListener("change", () => show(rows));
  columns.addEventListener("change", () => show(columns));
  table.isSeen = false;
  new IntersectionObserver(([entry]) => {
    table.isSeen = entry.isIntersecting;
    table.refresh();
  }).observe(byId("grid-table"));
  show(columns);
}

function buildActions() {
  const say = (text) => (byId("message").textContent = text);
  byId("random").addEventListener("click", () => state.random());
  byId("reset").addEventListener("click", () => state.change({}, { fromStart: true }));
  byId("copy-picture").addEventListener("click", async () => {
    const png = pngOf(byId("picture"));
    try {
      // The clipboard is given the promise: Safari opens it only while the click is answered.
      await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
      say("The picture is in the clipboard, as PNG.");
    } catch {
      // Browsers allow the clipboard on some addresses only.
      const href = URL.createObjectURL(await png);
      const link = element("a", { href, download: `${facts.name}.png` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(href), 10_000);
      say(`The picture was downloaded as ${link.download}.`);
    }
  });
  byId("copy-link").addEventListener("click", async () => {
    keepFragment.now();
    try {
      await navigator.clipboard.writeText(location.href);
      say("The link is in the clipboard; it leads to this very picture.");
    } catch {
      say("The address of this page is the link; it leads to this very picture.");
    }
  });
}

/** The picture in words, once it has come to rest. */
function describePicture() {
  clearTimeout(describePicture.timer);
  describePicture.timer = setTimeout(() => {
    const variables = state.categories.map((category, number) =>
      spoken(facts, `c${number}`, category),
    );
    const moved = facts.units
      .filter(({ unit }) => Math.abs(state.units[unit]) >= 0.005)
      .map(({ unit }) => spoken(facts, `z${unit}`, state.units[unit]));
    const rest = moved.length < facts.units.length ? ["all other units 0"] : [];
    byId("picture").setAttribute(
      "aria-label",
      `Decoded picture: ${[...variables, ...moved, ...rest].join(", ")}`,
    );
  }, 300);
}

/** Keeps the fragment as the state is; a listener that waits, as browsers limit how often. */
function keepFragment() {
  let timer = 0;
  keepFragment.now = () => {
    clearTimeout(timer);
    try {
      const { fragment } = state;
      const bare = location.pathname + location.search;
      history.replaceState(null, "", fragment ? `#${fragment}` : bare);
    } catch {
      // A page inside another one, such as a notebook's, may have no address of its own.
    }
  };
  return () => {
    clearTimeout(timer);
    timer = setTimeout(keepFragment.now, 250);
  };
}

/** The colours are those of the system until the reader switches. */
function buildTheme() {
  const button = byId("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () =>
    (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const name = () => (button.textContent = isDark() ? "Light" : "Dark");
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    name();
  });
  dark.addEventListener("change", name);
  name();
}
