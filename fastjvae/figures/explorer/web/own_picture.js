// A picture of the reader's own: chosen, dropped or pasted, encoded and decoded again.

/** Take pictures from the page's file field, from what is dropped, and from the clipboard. */
function takePictures(model, state) {
  const field = byId("file");
  let latest = null; // of the pictures asked for; a large one may come after it
  const take = async (file) => {
    latest = file;
    try {
      const picture = await readPicture(file, model);
      if (file === latest) show(picture);
    } catch (error) {
      if (file !== latest) return;
      const why = error instanceof RangeError ? error.message : "the browser knows no such picture";
      byId("encoded").textContent = `${file.name} cannot be taken: ${why}.`;
    }
  };

  /** Encode a picture (H, W, C), move the model to its code, and show both beside each other. */
  function show(picture) {
    const { mean, probabilities } = model.encode(picture);
    const values = Object.fromEntries([...mean].map((value, unit) => [`z${unit}`, value]));
    const chosen = probabilities.map((of, variable) => {
      const category = of.indexOf(Math.max(...of));
      values[`c${variable}`] = category;
      return `${spoken(model.facts, `c${variable}`, category)} with ${percent(of[category])}`;
    });
    state.change(values);
    const decoded = model.decode(state.row());
    const difference = decoded.reduce((sum, pixel, i) => sum + Math.abs(pixel - picture[i]), 0);
    draw(byId("original"), picture, model);
    draw(byId("reconstruction"), decoded, model);
    byId("compared").hidden = false;
    byId("encoded").textContent = [
      ...chosen,
      `a pixel differs by ${percent(difference / decoded.length)} on average`,
    ].join("; ");
  }

  const takeFirst = (files) => {
    if (files?.length) take(files[0]);
  };
  field.addEventListener("click", () => (field.value = "")); // or the same file were no change
  field.addEventListener("change", () => takeFirst(field.files));
  const body = document.body;
  body.addEventListener("dragover", (event) => {
    event.preventDefault(); // or the browser would leave the page for the file
    body.classList.add("dropping");
  });
  body.addEventListener("dragleave", () => body.classList.remove("dropping"));
  body.addEventListener("drop", (event) => {
    event.preventDefault();
    body.classList.remove("dropping");
    takeFirst(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => takeFirst(event.clipboardData?.files));
}
