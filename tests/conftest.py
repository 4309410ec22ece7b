"""What all tests share: the reference data, where it is present."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# MinkowskiEngine warns where nobody says how many threads to use, and small tests need one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TESTS = Path(__file__).parent
if str(TESTS) not in sys.path:  # so that `from builders import …` works in any import mode
    sys.path.insert(0, str(TESTS))

settings.register_profile("stagewright", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("stagewright")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the reference data, which lies outside the repository."""
    folder = Path(__file__).parents[2] / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip(f"the reference data is not at {folder}")
    return folder
