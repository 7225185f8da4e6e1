"""Tests that need a browser which can be driven."""

from __future__ import annotations

import os

import pytest

from benchmarks.browser import missing_browser


def need_browser() -> None:
    """Skip a test where there is no browser, with the reason; under CI that is a failure."""
    missing = missing_browser()
    if missing and os.environ.get("CI"):
        pytest.fail(f"CI drives a browser, and {missing}", pytrace=False)
    if missing:
        pytest.skip(f"needs a browser to drive: {missing}")
