"""The source of MinkowskiEngine: fetched through pip, verified and corrected."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

VERSION = "0.5.4"
SHA256 = "b1879c00d0b0b1d30ba622cce239886a7e3c78ee9da1064cdfe2f64c2ab15f94"

Correction = tuple[tuple[str, ...], str, str]
"""Files, a text in each of them, and its replacement; a missing text stops the build."""

CORRECTIONS: tuple[Correction, ...] = (
    # Python 3.10 took the abstract classes out of `collections`.
    (
        (
            "MinkowskiEngine/MinkowskiCommon.py",
            "MinkowskiEngine/MinkowskiCoordinateManager.py",
            "MinkowskiEngine/MinkowskiTensorField.py",
            "MinkowskiEngine/utils/quantization.py",
        ),
        "from collections import Sequence\n",
        "from collections.abc import Sequence\n",
    ),
    (
        ("MinkowskiEngine/MinkowskiKernelGenerator.py",),
        "from collections import Sequence, namedtuple\n",
        "from collections import namedtuple\nfrom collections.abc import Sequence\n",
    ),
    # Every layer made an instance of its autograd function, which torch warns about and is
    # going to refuse; `apply` belongs to the class.
    (
        tuple(
            f"MinkowskiEngine/Minkowski{name}.py"
            for name in (
                *("Broadcast", "Convolution", "Interpolation", "Normalization", "Pooling"),
                *("Pruning", "SparseTensor", "TensorField", "Union"),
            )
        ),
        "Function()",
        "Function",
    ),
    # A CPU build beside a CPU torch is what was asked for: no warning at every import.
    (
        ("MinkowskiEngine/__init__.py",),
        "if not is_cuda_available():\n",
        "if not is_cuda_available() and torch.version.cuda is not None:\n",
    ),
    # The package's setup removes an installed MinkowskiEngine, with whichever pip is on PATH,
    # before it knows whether it can build another.
    (("setup.py",), 'run_command("pip", "uninstall", "MinkowskiEngine", "-y")\n', ""),
)

# CUDA 12 and 13 come with a Thrust that has no unary_function and whose headers no longer
# include each other, and with the nvtx3 that the package's own copy collides with.
CUDA_CORRECTIONS: tuple[Correction, ...] = (
    (
        ("src/coordinate_map_functors.cuh",),
        """struct find_coordinate
    : public thrust::unary_function<uint32_t,
                                    thrust::pair<uint32_t, uint32_t>> {
""",
        "struct find_coordinate {\n",
    ),
    (
        ("src/3rdparty/concurrent_unordered_map.cuh",),
        "#include <cudf/detail/nvtx/ranges.hpp>\n",
        "#include <thrust/execution_policy.h>\n",
    ),
    (("src/3rdparty/concurrent_unordered_map.cuh",), "    CUDF_FUNC_RANGE();\n", ""),
    (
        ("src/coordinate_map_gpu.cu",),
        "#include <thrust/sort.h>\n",
        "#include <thrust/remove.h>\n#include <thrust/sort.h>\n#include <thrust/unique.h>\n",
    ),
    (
        ("src/spmm.cu",),
        "#include <ATen/cuda/CUDAContext.h>\n",
        "#include <ATen/core/Tensor.h>\n#include <ATen/cuda/CUDAContext.h>\n",
    ),
    (
        ("src/spmm.cu",),
        "#include <torch/script.h>\n",
        """#include <torch/script.h>

#include <thrust/execution_policy.h>
#include <thrust/iterator/zip_iterator.h>
#include <thrust/reduce.h>
#include <thrust/sort.h>
#include <thrust/tuple.h>
""",
    ),
)


class CannotBuild(Exception):
    """The build cannot start, or failed; the text says what to do."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def fetch(work: Path) -> Path:
    """Have pip fetch, verify and unpack the source package, and return its folder.

    pip insists on running a source package's setup to learn its metadata, and this setup
    needs torch before anything else. A torch that refuses to be imported ends it there, and
    ``--no-clean`` keeps what pip had unpacked by then.
    """
    (work / "stub").mkdir()
    (work / "stub" / "torch.py").write_text("raise ImportError('only fetching')\n")
    (work / "pip").mkdir()
    wanted = work / "requirement.txt"
    wanted.write_text(f"MinkowskiEngine=={VERSION} --hash=sha256:{SHA256}\n")
    done = pip(
        *("download", "--no-deps", "--no-binary=:all:", "--no-build-isolation", "--no-clean"),
        *("--require-hashes", "-r", str(wanted), "-d", str(work / "download")),
        env={"TMPDIR": str(work / "pip"), "PYTHONPATH": str(work / "stub")},
    )
    found = list((work / "pip").glob("**/MinkowskiEngine/__init__.py"))
    if len(found) != 1:
        errors = [x for x in done.stdout.splitlines() if x.startswith("ERROR")]
        raise CannotBuild(
            f"pip cannot fetch the source of MinkowskiEngine {VERSION}: "
            + (errors[-1] if errors else last_line(done.stdout))
        )
    return found[0].parent.parent


def correct(source: Path, corrections: tuple[Correction, ...]) -> None:
    """Apply corrections to the unpacked source."""
    for names, text, replacement in corrections:
        for path in (source / name for name in names):
            before = path.read_text()
            if text not in before:
                raise CannotBuild(f"{path} does not hold the text to correct, {text!r}")
            path.write_text(before.replace(text, replacement))


def pip(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run this interpreter's pip."""
    options = ("--disable-pip-version-check", "--no-input")
    done = run([sys.executable, "-m", "pip", *arguments, *options], env=env)
    if "No module named pip" in done.stdout:
        raise CannotBuild(f"{sys.executable} has no pip. Run: {sys.executable} -m ensurepip", 2)
    return done


def run(command: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``command`` with ``env`` added to the environment; both its outputs in ``stdout``."""
    return subprocess.run(  # noqa: S603
        command,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def last_line(text: str) -> str:
    """Return the last line of a program's output that says something."""
    return next((x.strip() for x in reversed(text.splitlines()) if x.strip()), "no message")
