"""Every warning's page shows a real case: a picture and a caption that the script measured."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from falsefloor.checks.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "docs" / "warnings"
PICTURES = ROOT / "docs" / "figures" / "warnings"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate", SCRIPTS / "generate.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PICTURES, tmp_path / "pictures"))


def captions(folder: Path) -> dict[str, dict[str, str]]:
    known: dict[str, dict[str, str]] = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    return known


@pytest.mark.parametrize("code", list(CATALOGUE))
def test_every_page_shows_its_picture_with_words_for_who_cannot_see_it(code: str) -> None:
    page = (SCRIPTS / f"{code}.md").read_text(encoding="utf-8")
    words = captions(PICTURES)[code]
    assert f"## A case\n\n![{words['alt']}](../figures/warnings/{code}.svg)\n\n{words['caption']}\n" in page
    assert not set("[]()\n") & set(words["alt"])
    # measured, not told: model, input and figures
    assert re.search(r"\d", words["caption"]) and "\n" not in words["caption"]


def test_every_code_is_illustrated_and_nothing_is_left_over(generate: ModuleType) -> None:
    assert generate.unillustrated() == []


def test_a_missing_picture_a_missing_caption_and_leftovers_are_told(
    generate: ModuleType, pictures: Path
) -> None:
    (pictures / "FF101.svg").unlink()
    (pictures / "FF999.svg").write_text("<svg/>", encoding="utf-8")
    words = captions(pictures)
    del words["FF104"]
    words["FF201"]["caption"] = ""
    words["FF998"] = words["FF202"]
    (pictures / "captions.json").write_text(json.dumps(words), encoding="utf-8")
    assert generate.unillustrated(pictures) == ["FF101", "FF104", "FF201", "FF998", "FF999"]


def test_a_page_with_an_older_caption_is_stale(generate: ModuleType, pictures: Path, tmp_path: Path) -> None:
    written = tmp_path / "warnings"
    written.mkdir()
    for name, text in generate.pages(pictures).items():
        (written / name).write_text(text, encoding="utf-8")
    assert generate.stale(written) == []
    page = written / "FF303.md"
    page.write_text(page.read_text(encoding="utf-8").replace("seven radii", "six radii"), encoding="utf-8")
    assert generate.stale(written) == ["FF303.md"]


def test_pictures_are_small_and_carry_no_date() -> None:
    sizes = {path.name: path.stat().st_size for path in PICTURES.glob("*.svg")}
    assert max(sizes.values()) < 60_000 and sum(sizes.values()) < 700_000
    assert not [name for name in sizes if "dc:date" in (PICTURES / name).read_text(encoding="utf-8")]


def test_pages_are_checked_without_torch_and_without_matplotlib() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import generate; generate.main();"
        " print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--check"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_every_case_still_raises_its_warning_and_says_what_the_pages_say(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra report is not installed")
    command = [sys.executable, "-W", "error", SCRIPTS / "pictures.py", "--into", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in tmp_path.glob("*.svg")} == set(CATALOGUE)
    # another processor may move a last digit, so the words alone are compared

    def words(folder: Path) -> dict[str, str]:
        return {
            code: re.sub(r"-?\d[\d.,]*", "#", shown["caption"]) for code, shown in captions(folder).items()
        }

    assert words(tmp_path) == words(PICTURES)
