// When pictures are drawn: the large one in the next frame, small ones in the time that is left.

const SLICE_MS = 6; // of small pictures before the browser may do other things

class Painter {
  /** @param model decodes; @param large the canvas of the large picture */
  constructor(model, large) {
    Object.assign(this, { model, large });
    this.frame = 0;
    this.waiting = new Map(); // rows by canvas, in the order in which they were asked for
    this.drawn = new WeakMap(); // the row that a canvas shows
    // A message comes at once; a timer of 0 ms would wait for 4.
    this.channel = new MessageChannel();
    this.channel.port1.onmessage = () => this.paintSome();
    this.busy = false;
  }

  /** Draw the large picture of a sample row in the next frame; only the last row counts. */
  show(row) {
    this.row = row;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.paint(this.large, this.row);
    });
  }

  /** Draw small pictures when there is time. A canvas that waits already keeps its turn. */
  want(canvas, row) {
    const shown = this.drawn.get(canvas);
    if (shown && shown.every((number, i) => number === row[i])) {
      this.waiting.delete(canvas);
      return;
    }
    this.waiting.set(canvas, row);
    if (!this.busy) {
      this.busy = true;
      this.channel.port2.postMessage(null);
    }
  }

  paintSome() {
    const end = performance.now() + SLICE_MS;
    for (const [canvas, row] of this.waiting) {
      this.waiting.delete(canvas);
      if (!canvas.isConnected) continue;
      this.paint(canvas, row);
      if (performance.now() > end) break;
    }
    this.busy = this.waiting.size > 0;
    if (this.busy) this.channel.port2.postMessage(null);
  }

  paint(canvas, row) {
    draw(canvas, this.model.decode(row), this.model);
    this.drawn.set(canvas, row);
  }
}
