// Tables of pictures: one variable along a row, or two across each other.

const MOST_CATEGORIES = 12; // rows or columns of a table; of more, the most frequent

/** The values that a variable takes in a table. */
function valuesOf({ kind, number }, facts) {
  if (kind === "z") return facts.values;
  const { categories } = facts.variables[number];
  return categories
    .map((_, category) => category)
    .sort((a, b) => (categories[b].share ?? 0) - (categories[a].share ?? 0))
    .slice(0, MOST_CATEGORIES)
    .sort((a, b) => a - b);
}

/** A table of buttons with pictures. A click moves the model there; arrow keys move the focus. */
class PictureTable {
  /**
   * @param host the element that holds it
   * @param isLabelled whether values stand beside the rows and above the columns
   */
  constructor(host, facts, state, painter, isLabelled) {
    Object.assign(this, { host, facts, state, painter, isLabelled, cells: [], isSeen: true });
    host.addEventListener("keydown", (event) => this.moveFocus(event));
    state.listeners.push(() => this.refresh());
  }

  /** Show these variables; without `down` the table has one row. */
  show(across, down = null) {
    const columns = valuesOf(across, this.facts);
    const rows = down ? valuesOf(down, this.facts) : [null];
    const titleOf = (latent, value) =>
      latent.kind === "z" ? decimal(value) : categoryText(this.facts, latent.number, value);
    this.cells = rows.map((of) => {
      const held = down ? { [nameOf(down)]: of } : {};
      return columns.map((value) => this.cell({ ...held, [nameOf(across)]: value }));
    });
    const body = this.cells.map((cells, i) => {
      const line = element("tr", {}, ...cells.map(({ button }) => element("td", {}, button)));
      if (down) line.prepend(element("th", { scope: "row" }, titleOf(down, rows[i])));
      return line;
    });
    const ends = `${decimal(this.facts.values[0])} to ${decimal(this.facts.values.at(-1))}`;
    const what = down ? `${nameOf(down)} down, ${nameOf(across)} across` : nameOf(across);
    const span = !down && across.kind === "z" ? ` from ${ends}` : "";
    const table = element("table", {}, element("caption", {}, what + span));
    table.style.setProperty("--columns", columns.length);
    if (this.isLabelled) {
      const className = across.kind === "z" ? "value" : "name";
      const titles = columns.map((value) =>
        element("th", { scope: "col", className }, titleOf(across, value)),
      );
      table.append(element("thead", {}, element("tr", {}, element("td"), ...titles)));
    }
    table.append(element("tbody", {}, ...body));
    this.host.replaceChildren(table);
    this.focusable(0, 0);
    this.refresh();
  }

  cell(values) {
    const canvas = element("canvas");
    const named = Object.entries(values).map(([name, value]) => spoken(this.facts, name, value));
    const button = element("button", { type: "button", "aria-label": named.join(", ") }, canvas);
    button.addEventListener("click", () => this.state.change(values));
    return { button, canvas, values };
  }

  /** Draw what has changed, unless the table is out of sight. */
  refresh() {
    if (!this.isSeen) return;
    for (const { button, canvas, values } of this.cells.flat()) {
      this.painter.want(canvas, this.state.row(values));
      const isHere = Object.entries(values).every(
        ([name, value]) => this.state.valueOf({ kind: name[0], number: name.slice(1) }) === value,
      );
      if (isHere) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  /** Of all buttons one is in the order of the Tab key, the one that had the focus last. */
  focusable(row, column) {
    this.cells.flat().forEach(({ button }) => (button.tabIndex = -1));
    const { button } = this.cells[row][column];
    button.tabIndex = 0;
    return button;
  }

  moveFocus(event) {
    const step = {
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
    }[event.key];
    const places = this.cells.map((cells) =>
      cells.findIndex(({ button }) => button === event.target),
    );
    const row = places.findIndex((place) => place >= 0);
    if (!step || row < 0) return;
    const column = places[row];
    const [down, across] = [row + step[0], column + step[1]];
    if (this.cells[down]?.[across]) this.focusable(down, across).focus();
    event.preventDefault();
  }
}
