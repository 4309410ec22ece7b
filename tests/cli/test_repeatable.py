"""One worker, the same seed: the same plan, byte for byte, in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_interrupt import wide_graph

from builders import write_profile

HETE = Path(__file__).parents[2] / "hete_files"


def plan(folder: Path, hash_seed: int, *arguments: object) -> dict[str, bytes]:
    """What ``plan`` writes, by file, without the one figure that is a time."""
    subprocess.run(
        [
            *(sys.executable, "-m", "stagewright", "plan", *map(str, arguments)),
            *("--workers", "1", "--seed", "7", "-o", str(folder)),
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
    )
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    document = json.loads(files["plan.json"])
    assert document["certificate"].pop("wall_s") >= 0
    return {**files, "plan.json": json.dumps(document).encode()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "planner"),
    [
        ("two servers", "cpsat"),
        ("two servers", "linear-dp"),
        ("wide graph", "cpsat"),
        ("wide graph", "milp"),
        ("memory", "cpsat"),
        ("memory", "milp"),
    ],
)
def test_the_same_plan_twice(tmp_path: Path, case: str, planner: str) -> None:
    arguments: dict[str, tuple[object, ...]] = {
        "two servers": (HETE / "two_servers.yaml",),
        "wide graph": (
            *("--profile", write_profile(tmp_path, wide_graph(branches=3, length=3))),
            *("-n", "4", "-b", "1e9", "--cost-model", "pipedream", "--tidy"),
        ),
        "memory": (
            *(HETE / "test_server.txt", "-b", "1e9", "-s", "0.6e9", "--use-memory-constraint"),
            *("--recompute", "auto"),
        ),
    }
    chosen = (*arguments[case], "--planner", planner)
    first, second = (plan(tmp_path / str(seed), seed, *chosen) for seed in (1, 2))
    assert first == second
