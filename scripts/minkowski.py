"""Install MinkowskiEngine 0.5.4 into this interpreter, building it once per user.

``python scripts/minkowski.py`` fetches the source package through pip and corrects it
(``minkowski_source.py``), builds a wheel for the torch that this interpreter imports (CPU,
or CUDA where torch is a CUDA build), proves that it imports and convolves, stores it in the
user's cache and installs it. Later calls install the stored wheel. The cache is
``$XDG_CACHE_HOME/stagewright/wheels`` (``~/.cache/stagewright/wheels``).

Exit status: 0 installed, 1 the build failed, 2 something that the build needs is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from minkowski_source import (
    CORRECTIONS,
    CUDA_CORRECTIONS,
    SHA256,
    VERSION,
    CannotBuild,
    Correction,
    correct,
    fetch,
    last_line,
    pip,
    run,
)

BUILD_TOOLS = ("setuptools>=77", "ninja>=1.11.1")
GIB_PER_COMPILER = 2

SMOKE_TEST = """
import sys, torch, MinkowskiEngine as ME
cube = torch.cartesian_prod(*[torch.arange(4)] * 3)
points = ME.utils.batched_coordinates([cube, cube + 1])
x = ME.SparseTensor(torch.ones(len(points), 1), points, device=sys.argv[1])
y = ME.MinkowskiConvolution(1, 2, kernel_size=3, stride=2, dimension=3).to(x.device)(x)
y.F.sum().backward()
assert y.F.shape[1] == 2 and torch.isfinite(y.F).all(), y
"""


@dataclasses.dataclass(frozen=True)
class Target:
    """What a wheel is built for; wheels for different targets do not mix."""

    torch: str
    cuda: str | None

    @property
    def corrections(self) -> tuple[Correction, ...]:
        """What has to be corrected in the source for this target."""
        return CORRECTIONS if self.cuda is None else CORRECTIONS + CUDA_CORRECTIONS

    @property
    def key(self) -> str:
        """Name of the target's folder in the cache."""
        recipe = repr((SHA256, self.corrections, os.environ.get("TORCH_CUDA_ARCH_LIST")))
        device = "cpu" if self.cuda is None else f"cuda{self.cuda}"
        parts = (
            f"minkowskiengine-{VERSION}",
            f"torch-{self.torch}",
            device,
            f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}",
            hashlib.sha256(recipe.encode()).hexdigest()[:8],
        )
        return re.sub(r"[^A-Za-z0-9.+-]", "_", "-".join(parts))


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cpu", action="store_true", help="a CPU build, also where torch has CUDA")
    parser.add_argument("--rebuild", action="store_true", help="build again and replace the wheel")
    options = parser.parse_args()
    try:
        target = find_target(cpu_only=options.cpu)
        if not options.rebuild and installed_key() == target.key:
            say(f"MinkowskiEngine {VERSION} is installed for torch {target.torch}")
            return 0
        install(target, rebuild=options.rebuild)
    except CannotBuild as error:
        say(f"error: {error}")
        return error.status
    except KeyboardInterrupt:
        say("interrupted; nothing was stored or installed")
        return 130
    say(f"installed MinkowskiEngine {VERSION} for torch {target.torch} into {sys.prefix}")
    return 0


def say(text: str) -> None:
    """Print one line for people."""
    sys.stderr.write(f"minkowski: {text}\n")
    sys.stderr.flush()


def find_target(*, cpu_only: bool) -> Target:
    """Ask the interpreter's torch what a wheel has to fit."""
    probe = "import numpy, torch; print(torch.__version__, torch.version.cuda)"
    found = run([sys.executable, "-c", probe])
    if found.returncode != 0:
        raise CannotBuild(
            f"{sys.executable} cannot import torch and numpy ({last_line(found.stdout)}). "
            "MinkowskiEngine is compiled against torch: install both first",
            status=2,
        )
    torch, cuda = found.stdout.split()[-2:]
    return Target(torch, None if cpu_only or cuda == "None" else cuda)


def installed_key() -> str | None:
    """Key of the wheel that is installed, as pip remembers its path."""
    try:
        origin = importlib.metadata.distribution("MinkowskiEngine").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    found = re.search(r"(minkowskiengine-[^/\"]+)/[^/\"]+\.whl", origin or "")
    return found[1].replace("%2B", "+") if found else None


def install(target: Target, *, rebuild: bool) -> None:
    """Install the target's wheel from the cache, building it first if it is not there."""
    with locked_folder(target) as folder:
        wheels = [] if rebuild else [x for x in folder.glob("*.whl") if zipfile.is_zipfile(x)]
        if wheels:
            say(f"using {wheels[0]}")
            wheel = wheels[0]
        else:
            check_needs(target)
            wheel = build(target, folder)
        done = pip("install", "--no-index", "--no-deps", "--force-reinstall", str(wheel))
        if done.returncode != 0:
            raise CannotBuild(f"pip cannot install {wheel}: {last_line(done.stdout)}")
        smoke_test(target)


@contextlib.contextmanager
def locked_folder(target: Target) -> Iterator[Path]:
    """Give the target's folder in the cache, or a passing one where there is no cache.

    The lock belongs to this process and goes with it, so a killed build locks nobody out.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "stagewright" / "wheels" / target.key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder.with_suffix(folder.suffix + ".lock").open("w")
    except OSError as error:
        say(f"no cache ({error}); the wheel will not be kept")
        with tempfile.TemporaryDirectory() as passing:
            folder = Path(passing) / target.key
            folder.mkdir()
            yield folder
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build of the same wheel is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def check_needs(target: Target) -> None:
    """Compile against everything that the build needs before it takes minutes to fail."""
    compiler = shutil.which(os.environ.get("CXX") or os.environ.get("CC") or "c++")
    compiler = compiler or shutil.which("g++")
    if compiler is None:
        raise CannotBuild("no C++ compiler found. On Debian: apt-get install g++", status=2)
    python_h = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not python_h.exists():
        raise CannotBuild(
            f"{python_h} is missing. On Debian: apt-get install python3-dev", status=2
        )
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "blas.cpp"
        source.write_text("#include <cblas.h>\nint main() { openblas_get_num_threads(); }\n")
        tried = run([compiler, str(source), "-lopenblas", "-o", str(Path(scratch) / "blas")])
    if tried.returncode != 0:
        raise CannotBuild(
            "OpenBLAS with its header cblas.h was not found. "
            "On Debian: apt-get install libopenblas-dev",
            status=2,
        )
    if target.cuda is not None:
        check_nvcc(target.cuda)


def check_nvcc(cuda: str) -> None:
    """Require the CUDA compiler of torch's own major version."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    nvcc = shutil.which("nvcc", path=f"{home}/bin") if home else shutil.which("nvcc")
    nvcc = nvcc or shutil.which("nvcc", path="/usr/local/cuda/bin")
    advice = (
        f"Install the CUDA {cuda} toolkit and set CUDA_HOME to its folder, "
        "or run this with --cpu for a build that computes on the CPU"
    )
    if nvcc is None:
        raise CannotBuild(f"torch is built for CUDA {cuda}, and nvcc is missing. {advice}", 2)
    release = re.search(r"release (\d+)\.", run([nvcc, "--version"]).stdout)
    if release is None or release[1] != cuda.split(".", maxsplit=1)[0]:
        found = f"of CUDA {release[1]}" if release else "unreadable"
        raise CannotBuild(f"torch is built for CUDA {cuda}, and {nvcc} is {found}. {advice}", 2)


def build(target: Target, folder: Path) -> Path:
    """Build and try the wheel aside, then move it into ``folder``: whole or not at all."""
    work = folder.with_suffix(folder.suffix + ".build")
    log = folder.with_suffix(folder.suffix + ".log")
    shutil.rmtree(work, ignore_errors=True)  # left over by a build that was killed
    work.mkdir()
    try:
        source = fetch(work)
        correct(source, target.corrections)
        environment = build_environment(work)
        say(f"building for torch {target.torch}; this takes minutes. Log: {log}")
        started = time.monotonic()
        device = "--cpu_only" if target.cuda is None else "--force_cuda"
        with log.open("w") as output:
            done = subprocess.run(  # noqa: S603
                [sys.executable, "setup.py", "bdist_wheel", device, "--blas=openblas"],
                cwd=source,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        wheels = list((source / "dist").glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            raise CannotBuild(f"the build failed: {first_error(log)}. The whole log: {log}")
        say(f"built in {time.monotonic() - started:.0f} s")
        with zipfile.ZipFile(wheels[0]) as archive:
            archive.extractall(work / "unpacked")
        smoke_test(target, work / "unpacked")
        for old in folder.glob("*.whl"):
            old.unlink()
        return wheels[0].replace(folder / wheels[0].name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def build_environment(work: Path) -> dict[str, str]:
    """Install the build's tools aside, so that the user's environment stays as it is."""
    tools = work / "tools"
    done = pip("install", "--target", str(tools), *BUILD_TOOLS)
    if done.returncode != 0:
        raise CannotBuild(f"pip cannot install {', '.join(BUILD_TOOLS)}: {last_line(done.stdout)}")
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    jobs = max(1, min(len(os.sched_getaffinity(0)), int(memory_gib / GIB_PER_COMPILER)))
    return {
        "MAX_JOBS": str(jobs),
        **os.environ,
        "PYTHONPATH": str(tools),
        "PATH": f"{tools / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def smoke_test(target: Target, folder: Path | None = None) -> None:
    """Convolve, forward and backward, with what is installed or unpacked in ``folder``."""
    environment = {} if folder is None else {"PYTHONPATH": str(folder)}
    code = [sys.executable, "-W", "error", "-c", SMOKE_TEST]
    done = run([*code, "cpu"], env=environment)
    has_gpu = [sys.executable, "-c", "import torch; assert torch.cuda.is_available()"]
    if done.returncode == 0 and target.cuda is not None and run(has_gpu).returncode == 0:
        done = run([*code, "cuda"], env=environment)
    if done.returncode != 0:
        raise CannotBuild(f"the wheel does not work: {last_line(done.stdout)}")


def first_error(log: Path) -> str:
    """Return the first line of a compiler's log that names an error."""
    lines = log.read_text(errors="replace").splitlines()
    return next((x.strip() for x in lines if re.search(r"\berror\b", x, re.I)), "no message")


if __name__ == "__main__":
    sys.exit(main())
