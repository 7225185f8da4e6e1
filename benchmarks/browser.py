"""A headless Chromium, driven by selenium: for the explorer's tests, benchmark and pictures."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DRIVER = "chromedriver"


def missing_browser() -> str | None:
    """Why there is no browser to drive; None where there is one."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    if not any(map(shutil.which, _BROWSERS)):
        return f"there is no browser, one of {', '.join(_BROWSERS)}"
    return None if shutil.which(_DRIVER) else f"there is no {_DRIVER}"


@contextmanager
def browser(downloads: Path | None = None) -> Iterator[Any]:
    """A selenium driver whose logs hold every line of the console and every request.

    Args:
        downloads: folder for what pages download.
    """
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, _BROWSERS)))
    for flag in (
        "headless=new",
        "no-sandbox",  # which root cannot have
        "disable-dev-shm-usage",  # small in containers
        "hide-scrollbars",
        "force-color-profile=srgb",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    if downloads is not None:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = Chrome(options=options, service=ChromeService(shutil.which(_DRIVER)))
    try:
        driver.set_script_timeout(60)
        yield driver
    finally:
        driver.quit()


def resize(driver: Any, width: int, height: int, *, scale: float = 1, dark: bool = False) -> None:
    """Give the page a size in CSS pixels, and the system's dark or light colours."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600},
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def at_rest(driver: Any) -> None:
    """Wait until every picture of the page is drawn."""
    driver.execute_async_script(
        """
        const done = arguments[0];
        let quiet = 0;
        const draw = CanvasRenderingContext2D.prototype.putImageData;
        let drawn = 0;
        CanvasRenderingContext2D.prototype.putImageData = function (...given) {
          drawn++;
          return draw.apply(this, given);
        };
        const look = () => {
          quiet = drawn ? 0 : quiet + 1;
          drawn = 0;
          if (quiet < 4) return setTimeout(look, 60);
          CanvasRenderingContext2D.prototype.putImageData = draw;
          done();
        };
        look();
        """
    )
