"""What `make` sets up: a virtual environment with falsefloor in it and, on Linux, the torch that fits.

    python3 set_up.py .venv         # what the demo needs
    python3 set_up.py .venv dev     # what `make test` and `make docs` need

torch on the public index brings CUDA: gigabytes that a machine without an NVIDIA device has no use for. There
PyTorch's own index of CPU builds is asked first, and where it does not answer within seconds pip installs as
it would have. TORCH_INDEX names another index (a mirror), and is empty for none. uv does the work where it is
installed. Needs nothing but the standard library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE = 5.0
"""Seconds that the index has to answer."""
SIZES = {"": (300, 900, "one or two minutes"), "dev": (600, 1800, "two to five minutes")}
"""MB to fetch and MB on disk with a CPU build of torch, and how long that takes on a fast line."""
CUDA = (2700, 4500)
"""What CUDA adds to both."""
TICK = 5.0
"""Seconds between two lines of progress where nobody sits at a terminal."""


def main(arguments: Sequence[str]) -> int:
    """Set up the environment; returns the exit code, and says in one line what is missing."""
    venv, extra = Path(arguments[0]), "".join(arguments[1:2])
    if extra not in SIZES:
        return _fail(f"no set-up is called {extra!r}; there are: {', '.join(map(repr, SIZES))}.")
    uv = shutil.which("uv")
    if uv is None and (missing := _no_venv()):
        return _fail(missing)
    index = torch_index(os.environ)
    print(plan(venv, extra, index, uv), flush=True)
    began = time.monotonic()
    python = venv / "bin" / "python"
    make = [uv, "venv", "-q", "--allow-existing", "--python", sys.executable] if uv else None
    steps = [[*(make or [sys.executable, "-m", "venv"]), str(venv)]]
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install"]
    if not extra:
        # what is imported is compiled then; compiling all takes a fifth of the room and half of the time
        pip.append("--no-compile")
    if uv:
        pip = [uv, "pip", "install", "--python", str(python)]
    if index:
        # alone and without its dependencies: that index mirrors old versions of some of them
        torch = next(line for line in _constraints() if line.startswith("torch=="))
        steps.append([*pip, "--no-deps", "--index-url", index, torch])
    target = f"{ROOT}[{extra}]" if extra else str(ROOT)
    steps.append([*pip, "-c", str(ROOT / "constraints.txt"), "-e", target])
    for number, step in enumerate(steps):
        with _progress(venv, quiet=not number):
            done = subprocess.run(step, stdout=None if sys.stdout.isatty() else subprocess.DEVNULL)
        if done.returncode and index and number == 1:
            print(f"  {index} has no build for this machine: taking the public index's", flush=True)
        elif done.returncode:
            return _fail(f"this failed: {' '.join(step)}. Run it by hand, or `make clean` and again.")
    _leave_out(venv)
    (venv / (".ready" if extra == "dev" else ".ready-demo")).touch()
    print(f"  done in {time.monotonic() - began:.0f} s: {venv}/bin/falsefloor", flush=True)
    return 0


def plan(venv: Path, extra: str, index: str | None, uv: str | None) -> str:
    """What is going to happen, with its size and time."""
    fetched, kept, long = SIZES[extra]
    what = "for tests and documentation" if extra else "for the demo"
    how = " by uv" if uv else ""
    said = f"setting up {venv}{how} {what}: {_size(fetched)} to fetch, {_size(kept)} on disk, {long}"
    if sys.platform == "linux" and not index:
        more = [_size(size + cuda) for size, cuda in zip((fetched, kept), CUDA, strict=True)]
        said += f"; where torch comes with CUDA, {more[0]} and {more[1]}"
    return said


def torch_index(environ: Mapping[str, str]) -> str | None:
    """The index to take torch from; None for whatever pip is set up with."""
    index = environ.get("TORCH_INDEX", CPU_INDEX)
    if not index or sys.platform != "linux" or (index == CPU_INDEX and nvidia()):
        return None
    if answers(index):
        return index
    print(f"{index} does not answer within {PATIENCE:.0f} s: torch comes from pip's own index", flush=True)
    return None


def nvidia(root: Path = Path("/")) -> bool:
    """Whether there is a device of NVIDIA's, also through WSL or in a container."""
    paths = ("dev/nvidiactl", "dev/nvidia0", "proc/driver/nvidia/version", "usr/lib/wsl/lib/libcuda.so.1")
    return any((root / path).exists() for path in paths)


def answers(index: str, *, patience: float = PATIENCE) -> bool:
    """Whether an index serves torch. One that accepts and is silent has no longer than one that is away."""
    found: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=patience) as reply:  # noqa: S310
                found.append(b"torch" in reply.read(1 << 20))
        except (OSError, ValueError):
            found.append(False)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    return found == [True]


def _leave_out(venv: Path) -> None:
    """Delete what nothing imports, a sixth of the room: torch's C++ test programs, other packages' tests."""
    for site in venv.glob("lib/python3*/site-packages"):
        shutil.rmtree(site / "torch" / "test", ignore_errors=True)
        for program in (*site.glob("torch/bin/*[tT]est*"), *site.glob("torch/bin/protoc*")):
            program.unlink()
        for package in ("scipy", "sympy", "networkx"):
            for tests in list((site / package).rglob("tests")):
                shutil.rmtree(tests, ignore_errors=True)


def _no_venv() -> str:
    """What to say where this Python cannot make an environment; empty where it can."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return (
            f"{sys.executable} ({version}) comes without venv. On Debian and Ubuntu: apt install"
            f" python{version}-venv. Or name another Python: make PYTHON=/path/to/python3"
        )
    return ""


@contextmanager
def _progress(venv: Path, *, quiet: bool) -> Iterator[None]:
    """How much there is already, now and then. On a terminal pip and uv show their own."""
    if quiet or sys.stdout.isatty():
        yield
        return
    over = threading.Event()

    def tell() -> None:
        began = time.monotonic()
        while not over.wait(TICK):
            print(f"  {time.monotonic() - began:4.0f} s, {_size(_megabytes(venv))} installed", flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _megabytes(folder: Path) -> int:
    """What the files of a folder hold, as far as they are still there."""
    found = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                found += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118
            except OSError:
                continue
    return found >> 20


def _size(megabytes: int) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes} MB"


def _constraints() -> list[str]:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return re.findall(r"^[a-z][^#\s]*", text, re.MULTILINE)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:] or [".venv"]))
    except KeyboardInterrupt:
        sys.exit(130)
