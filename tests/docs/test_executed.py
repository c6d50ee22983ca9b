"""Every command and block of the documentation is executed, and what it prints is what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pytest
from pages import ANY, Block, blocks, differs
from PIL import Image

from falsefloor.models.digits import load_split
from falsefloor.study.file import study_from

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
PAGES += sorted(ROOT.glob("docs/plugins/*.md"))
KINDS = {"console", "python", "pycon", "toml", "bash", "yaml", "text", "{toctree}", "{eval-rst}", "bibtex"}
DIAGRAMS = {"architecture.md"}
"""Where a `text` block is a drawing and not something printed."""
STAND_INS = ROOT / "tests" / "docs" / "stand_ins"
"""What stands for git, pip, ssh, make and libraries that are not there: they check what they are asked."""
PRELUDE = """
import numpy, numpy as np, torch
from falsefloor.models.digits import DigitsModel, load_split
x, y = (part[:2] for part in load_split(held_out=True))
model = trained = DigitsModel()("linear").module
inputs, labels, images = x, y, x
"""
"""What a page's Python may take for granted: a model, a batch and its labels."""
NET = """
import torch
from falsefloor.models.digits import DigitsModel

def build():
    return DigitsModel()("mlp").module
"""
STUDY = """
models = ["python:net.py:build"]
inputs = "npz:batch.npz"
estimators = ["clever", "attack"]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with what a reader has: a model, a batch, a study and some pictures."""
    pixels, labels = (part[:2] for part in load_split(held_out=True))
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    np.savez(tmp_path / "batch.npz", x=pixels.numpy(), y=labels.numpy())
    photo = tmp_path / "photos" / "a class" / "photo.png"
    photo.parent.mkdir(parents=True)
    Image.new("RGB", (300, 280), (200, 90, 40)).save(photo)
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    """Bare, but for our commands in front."""
    shims = place / "bin"
    shims.mkdir(exist_ok=True)
    for name, words in (("falsefloor", "-m falsefloor"), ("python", ""), ("python3", "")):
        (shims / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n', encoding="utf-8")
        (shims / name).chmod(0o755)
    kept = {name: os.environ[name] for name in ("FALSEFLOOR_CACHE", "XDG_STATE_HOME") if name in os.environ}
    return {
        **kept,
        "PATH": os.pathsep.join([str(shims), str(STAND_INS), "/usr/bin", "/bin"]),
        "HOME": str(place),
        "FALSEFLOOR_STORE": str(place / "runs"),
        "PYTHONPATH": os.pathsep.join([str(STAND_INS / "lib"), str(ROOT), str(place / "site")]),
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "120",
        "REPOSITORY_ROOT": str(ROOT),
        "SCHEDULER": "",
    }


def shell(words: str, place: Path) -> tuple[int, list[str]]:
    """A line of bash, with both streams."""
    done = subprocess.run(
        ["bash", "-c", words],
        cwd=place,
        env=environment(place),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def execute(block: Block, place: Path) -> None:
    """Whatever a block asks for. A failed command says what it printed."""
    if block.file:
        path = place / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body, encoding="utf-8")
    if block.kind == "console":
        for command in block.commands:
            code, seen = shell(command.words, place)
            assert code == 0 or (code == 3 and "--fail-on" in command.words), (command.words, code, seen)
            if command.printed:
                assert not (told := differs(command.printed, seen)), f"$ {command.words}\n{told}"
    elif block.kind == "bash":
        code, seen = shell(block.body, place)
        assert code == 0, seen
    elif block.kind == "yaml":
        for words in re.findall(r"- run: (.*)", block.body):
            code, seen = shell(words, place)
            assert code == 0, (words, seen)
    elif block.kind == "python" and not block.file:
        with (place / "page.py").open("a", encoding="utf-8") as script:
            script.write(block.body)
        code, seen = shell("python page.py", place)
        assert code == 0, seen
    elif block.kind == "python":
        code, seen = shell(f"python -c 'import runpy; runpy.run_path(\"{block.file}\")'", place)
        assert code == 0, seen
    elif block.kind == "toml":
        data = tomllib.loads(block.body)
        if {"estimators", "models"} & set(data):
            study_from({"inputs": "digits:0", "models": ["digits:mlp"], **data})


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_does_what_it_says(page: Path, place: Path) -> None:
    (place / "page.py").write_text(textwrap.dedent(PRELUDE), encoding="utf-8")
    for block in blocks(page):
        execute(block, place)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_of_a_kind_that_is_executed(page: Path) -> None:
    for block in blocks(page):
        assert block.kind in KINDS, f"{page.name} has a block of {block.kind!r}"
        assert block.kind != "text" or page.name in DIAGRAMS, f"{page.name} prints without a command"
    prose = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    indented = [
        line
        for line in prose.splitlines()
        if re.match(r" {4}(falsefloor|pip|make|python|import|from) ", line)
    ]
    assert not indented, f"{page.name}: {indented[0]!r} is in no fence, so nobody executes it"


@pytest.mark.parametrize(
    ("told", "seen", "same"),
    [
        (["none ≳0.0927 held"], ["none   ≳0.0927  held"], True),
        (["none ≳0.0927 held"], ["none ≳0.0928 held"], True),
        (["none ≳0.0927 held"], ["none ≳0.0951 held"], False),
        (["none ≳0.0927 held"], ["none ≳0.0927 suspect"], False),
        (["run 3f9a2c11 · done"], ["run 77aa01bc · done"], True),
        ([ANY, "it replays"], ["FF201 on …", "it replays"], True),
        ([ANY, "it replays"], ["it does NOT replay"], False),
        (["a", ANY], ["a", "b", "c"], True),
        (["a"], ["a", "b"], False),
        ([f"wrote {ANY} figures"], ["wrote 22 figures"], True),
        (["a", "b"], ["a"], False),
    ],
)
def test_what_is_printed_is_compared(told: list[str], seen: list[str], same: bool) -> None:
    assert (differs(told, seen) == "") is same


def test_a_page_that_says_another_number_is_found_out(place: Path) -> None:
    page = place / "wrong.md"
    page.write_text("```console\n$ echo held: 20 checks\nheld: 21 checks\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="it prints 'held: 20 checks'"):
        execute(*blocks(page), place)
