"""What all tests share: the reference data and a real browser, where they are present."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# MinkowskiEngine warns where nobody says how many threads to use, and small tests need one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TESTS = Path(__file__).parent
if str(TESTS) not in sys.path:  # so that `from builders import …` works in any import mode
    sys.path.insert(0, str(TESTS))

# Debian's chromium is driven by playwright; no browser is downloaded.
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

settings.register_profile("stagewright", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("stagewright")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the reference data, which lies outside the repository."""
    folder = Path(__file__).parents[2] / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip(f"the reference data is not at {folder}")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; one for the session, since playwright can be started once at a time."""
    found = next((path for path in map(shutil.which, CHROMIUM_NAMES) if path), None)
    if found is None:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=list(CHROMIUM_OPTIONS))
        yield chromium
        chromium.close()
