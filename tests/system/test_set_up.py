"""The README's two commands on a bare machine: which Python is taken, where torch comes from, its cost."""

from __future__ import annotations

import http.server
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("make", "awk", "git", "touch", "rm", "ls", "cat", "env")
OLD = '#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.2";; *) exit 1;; esac\n'
pytestmark = pytest.mark.skipif(
    not shutil.which("dash") or not shutil.which("make"), reason="needs dash and make"
)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder of bare tools, with dash as its sh and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (folder / tool).symlink_to(found)
    (folder / "sh").symlink_to(str(shutil.which("dash")))
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def interpreter(folder: Path, name: str) -> None:
    script(folder / name, f'#!/bin/sh\nexec {sys.executable} "$@"\n')


def make(bare: Path, place: Path, *words: str, timeout: int = 60) -> subprocess.CompletedProcess[str]:
    """`make` in a clean environment: nothing of ours but this PATH."""
    command = [str(bare / "make"), *words]
    return subprocess.run(
        command,
        cwd=place,
        env={"PATH": str(bare)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The Makefile, with a set-up that only says how it was called and a falsefloor that says hello."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "set_up.py").write_text(
        "import pathlib, sys\n"
        "print('set up', *sys.argv[1:])\n"
        "made = pathlib.Path(sys.argv[1], 'bin', 'falsefloor')\n"
        "made.parent.mkdir(parents=True)\n"
        "made.write_text('#!/bin/sh\\necho hello\\n')\n"
        "made.chmod(0o755)\n",
        encoding="utf-8",
    )
    return folder


@pytest.mark.parametrize("name", ["python3", "python3.12", "python3.14", "python"])
def test_whatever_a_python_is_called_it_is_found_under_dash(bare: Path, place: Path, name: str) -> None:
    interpreter(bare, name)
    done = make(bare, place, "demo")
    assert (done.returncode, done.stdout) == (0, "set up .venv\nhello\n"), done.stderr


def test_a_name_whose_python_is_too_old_or_does_not_run_is_passed_over(bare: Path, place: Path) -> None:
    script(bare / "python3.11", "#!/bin/sh\nexit 127\n")  # what pyenv leaves of a version that is gone
    script(bare / "python3", OLD)
    interpreter(bare, "python3.13")
    done = make(bare, place, "demo")
    assert done.stdout == "set up .venv\nhello\n", done.stderr


@pytest.mark.parametrize(("has", "said"), [(True, "there is Python 3.9.2."), (False, "there is no python3.")])
def test_a_python_that_is_too_old_or_missing_gets_one_line(
    bare: Path, place: Path, has: bool, said: str
) -> None:
    if has:
        script(bare / "python3", OLD)
    done = make(bare, place, "demo")
    first, *rest = done.stderr.splitlines()
    assert first.startswith("error: falsefloor needs Python 3.11 or newer") and said in first
    assert first.endswith("make demo PYTHON=/path/to/python3.12") and done.returncode
    assert not done.stdout and len(rest) == 1 and rest[0].startswith("make: ***")


def test_uv_brings_a_python_where_there_is_none(bare: Path, place: Path) -> None:
    script(bare / "uv", "#!/bin/sh\n[ $1 = --version ] || { shift 5; exec " + sys.executable + ' "$@"; }\n')
    assert make(bare, place, "demo").stdout == "set up .venv\nhello\n"


def test_the_tests_have_a_set_up_of_their_own_which_the_demo_shares(bare: Path, place: Path) -> None:
    interpreter(bare, "python3")
    assert make(bare, place, ".venv/.ready").stdout == "set up .venv dev\n"
    (place / ".venv" / ".ready").touch()
    assert make(bare, place, "demo").stdout == "hello\n"


@pytest.fixture(scope="module")
def setting() -> ModuleType:
    """`set_up.py`, which is no module of the package."""
    specification = importlib.util.spec_from_file_location("set_up", ROOT / "set_up.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def index() -> Iterator[str]:
    """An index on this machine that has torch and nothing else."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/whl/torch/" else 404)
            self.end_headers()
            self.wfile.write(b'<a href="torch-2.13.0%2Bcpu.whl">torch</a>')

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/whl"
        server.shutdown()


def test_an_index_counts_where_it_answers_with_torch(setting: ModuleType, index: str) -> None:
    assert setting.torch_index({"TORCH_INDEX": index}) == index
    assert not setting.answers(index.replace("/whl", "/other"))


def test_an_index_that_is_silent_or_away_is_given_up_in_time(setting: ModuleType) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        assert not setting.answers(f"http://127.0.0.1:{port}", patience=0.2)
    assert not setting.answers(f"http://127.0.0.1:{port}", patience=0.2)
    assert not setting.answers("no url", patience=0.2)


def test_a_machine_with_a_device_of_nvidias_keeps_its_cuda(setting: ModuleType, tmp_path: Path) -> None:
    assert not setting.nvidia(tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert setting.nvidia(tmp_path)


@pytest.mark.parametrize("answering", [True, False])
def test_torch_comes_first_and_alone_from_the_cpu_index_and_else_from_pips(
    setting: ModuleType,
    index: str,
    answering: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    log, venv = tmp_path / "log", tmp_path / "venv"
    script(tmp_path / "uv", f'#!/bin/sh\necho "$*" >> {log}\n{shutil.which("mkdir")} -p {venv}/bin\n')
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TORCH_INDEX", index if answering else "")
    assert setting.main([str(venv)]) == 0
    made, *torch, rest = log.read_text(encoding="utf-8").splitlines()
    assert made.startswith("venv ") and rest.endswith(f"constraints.txt -e {ROOT}")
    assert [" ".join(line.split()[-4:]) for line in torch] == (
        [f"--no-deps --index-url {index} torch==2.13.0"] if answering else []
    )
    said = capfd.readouterr().out
    assert "300 MB to fetch, 900 MB on disk" in said and ("CUDA" in said) is not answering
    assert (venv / ".ready-demo").exists()


def test_a_python_without_venv_gets_one_line_with_the_cure(
    setting: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert setting.main([str(tmp_path / "venv")]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "comes without venv" in line and f"apt install python3.{sys.version_info[1]}-venv" in line


@pytest.mark.slow
def test_from_a_bare_machine_to_the_demos_table_and_to_the_tests_set_up(bare: Path, tmp_path: Path) -> None:
    (bare / "python3").symlink_to(os.path.realpath(sys.executable))
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    place = tmp_path / "checkout"
    for name in filter(None, listed.stdout.decode().split("\0")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    shown = make(bare, place, "demo", timeout=500)
    assert shown.returncode == 0, shown.stderr
    assert "setting up .venv for the demo" in shown.stdout and "REFUTED" in shown.stdout
    site = next((place / ".venv" / "lib").glob("python3*/site-packages"))
    assert len(list(site.glob("*.dist-info"))) <= 45
    blocks = sum(path.lstat().st_blocks for path in (place / ".venv").rglob("*"))
    assert blocks * 512 <= 900e6
    ready = make(bare, place, ".venv/.ready", timeout=500)
    assert ready.returncode == 0, ready.stderr
    assert (place / ".venv" / "bin" / "pytest").exists()
