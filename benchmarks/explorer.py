"""The explorer in a headless Chromium: pictures a second while a slider is dragged.

    python -m benchmarks.explorer --json benchmarks/results/explorer.json
    python -m benchmarks.explorer --picture docs/explorer.png --model runs/digits-seed0

A model of each size, with the weights that it begins with, is opened at 1280x900. The pointer then
holds the first slider and moves along it for some seconds, 125 times a second, as a mouse does.
Counted are the pictures that are drawn on the large canvas; the small ones are drawn beside. A
screen shows at most 60 a second. "decode" is the time of one picture alone, mean of 50.

``--picture`` writes what the page of a model looks like instead.
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.browser import at_rest, browser, missing_browser, resize
from benchmarks.environment import environment
from fastjvae import JointVAE
from fastjvae.cli.explore import page_of
from fastjvae.figures import explorer_page
from fastjvae.files import write_bytes, write_json
from fastjvae.model import load

SIZES = {
    "32x32x1": ((1, 32, 32), {"cont": 10, "disc": [10]}),
    "64x64x3": ((3, 64, 64), {"cont": 32, "disc": [10]}),
}
DRAGS, SECONDS = 5, 3.0
MOVES_PER_S = 125  # as many as a mouse reports
MOST_BYTES = 150_000  # of the picture in the documentation
_SIZE = (1280, 900)  # of the page, CSS pixels

_COUNT = """
    const canvas = document.querySelector("#picture");
    const put = CanvasRenderingContext2D.prototype.putImageData;
    window.pictures = 0;
    CanvasRenderingContext2D.prototype.putImageData = function (...given) {
      if (this.canvas === canvas) window.pictures++;
      return put.apply(this, given);
    };
"""
_DECODE = """
    const row = new Float32Array(arguments[0]).fill(0.5);
    for (let i = 0; i < 50; i++) fastjvae.decode(row);
    const begin = performance.now();
    for (let i = 0; i < 50; i++) fastjvae.decode(row);
    return (performance.now() - begin) / 50;
"""


def measure(driver: Any, name: str, folder: Path) -> dict[str, Any]:
    """One size: the page's bytes, pictures a second of each drag, milliseconds of one picture."""
    img_size, spec = SIZES[name]
    torch.manual_seed(0)
    model = JointVAE(img_size, spec)
    shown = {"effect_cont": [0.1] * model.spec.cont, "variables": [{"effect": 0.1}]}
    page = explorer_page(model, shown).encode()
    file = folder / f"{name}.html"
    file.write_bytes(page)
    resize(driver, *_SIZE)
    driver.get(file.as_uri())
    at_rest(driver)
    driver.execute_script(_COUNT)
    rates = [drag(driver) for _ in range(DRAGS)]
    return {
        "name": name,
        "img_size": list(img_size),
        "spec": spec,
        "page_bytes": len(page),
        "pictures_per_s": rates,
        "median_pictures_per_s": statistics.median(rates),
        "decode_ms": driver.execute_script(_DECODE, model.latent_dim),
    }


def drag(driver: Any) -> float:
    """Pictures a second while the pointer drags the first slider to and fro."""
    box = driver.execute_script(
        "const b = document.querySelector('.unit input').getBoundingClientRect();"
        "return [b.left, b.width, b.top + b.height / 2]"
    )
    left, width, height = map(float, box)
    count = "return [window.pictures, performance.now()]"
    with contextlib.closing(page_socket(driver)) as socket:

        def pointer(kind: str, x: float) -> None:
            event = {"type": kind, "x": x, "y": height, "button": "left", "buttons": 1}
            call = {
                "id": 1,
                "method": "Input.dispatchMouseEvent",
                "params": event | {"clickCount": 1},
            }
            socket.send(json.dumps(call))  # without waiting for the answer, as a mouse does

        pointer("mousePressed", left + width / 2)
        before, began = driver.execute_script(count)
        start = time.monotonic()
        for step in range(round(SECONDS * MOVES_PER_S)):
            time.sleep(max(0.0, step / MOVES_PER_S - (time.monotonic() - start)))
            # To and fro in whole pixels, so that every move changes the value.
            pointer("mouseMoved", left + abs(2 * step % (2 * int(width)) - int(width)))
        after, ended = driver.execute_script(count)
        pointer("mouseReleased", left + width / 2)
    at_rest(driver)
    return float(1000 * (after - before) / (ended - began))


def page_socket(driver: Any) -> Any:
    """A connection to the browser's own protocol for the page that the driver shows."""
    from websocket import create_connection

    address = driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
    url = f"ws://{address}/devtools/page/{driver.current_window_handle}"
    return create_connection(url, suppress_origin=True)


def take_picture(driver: Any, path: str, out: Path) -> None:
    """The page of a model as a PNG of 256 colours."""
    page = page_of(load(path), path, None)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "explorer.html"
        file.write_text(page, encoding="utf-8")
        resize(driver, 1280, 1000)
        driver.get(file.as_uri())
        at_rest(driver)
        shown = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    content = io.BytesIO()
    shown.quantize(256).save(content, "png", optimize=True)
    if len(content.getvalue()) > MOST_BYTES:
        raise SystemExit(f"the picture has {len(content.getvalue()):,} bytes, over {MOST_BYTES:,}")
    write_bytes(out, content.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--picture", type=Path, help="file for a picture of the page of --model")
    parser.add_argument("--model", help="a run folder or a saved model")
    given = parser.parse_args()
    if (given.picture is None) != (given.model is None):
        parser.error("--picture and --model go together")
    if missing := missing_browser():
        parser.error(missing)
    with browser() as driver, tempfile.TemporaryDirectory() as folder:
        if given.picture:
            take_picture(driver, given.model, given.picture)
            return
        version = driver.capabilities["browserVersion"]
        rows = [measure(driver, name, Path(folder)) for name in SIZES]
    result = {"environment": {**environment(), "chromium": version}, "sizes": rows}
    print(json.dumps(result, indent=2))
    if given.json:
        write_json(given.json, result)


if __name__ == "__main__":
    main()
