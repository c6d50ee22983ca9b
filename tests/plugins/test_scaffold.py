"""What `plugins new` accepts, writes and refuses; the generated code itself runs in tests/system."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from falsefloor.errors import UsageError
from falsefloor.plugins import KINDS
from falsefloor.plugins.authoring import write_package


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_package_is_complete_and_every_python_file_parses(kind: str, tmp_path: Path) -> None:
    folder, files = write_package("two-words", kind, into=tmp_path, author="A. Nonymous")
    assert folder == tmp_path / "falsefloor-two-words"
    names = {str(path.relative_to(folder)) for path in files}
    assert names == {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        ".gitignore",
        ".github/workflows/ci.yml",
        "src/falsefloor_two_words/__init__.py",
        "src/falsefloor_two_words/py.typed",
        f"src/falsefloor_two_words/{kind}.py",
        "tests/test_falsefloor_two_words.py",
    }
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert "$" not in text.replace("${{ matrix.python }}", ""), path
        if path.suffix == ".py":
            ast.parse(text)
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project["entry-points"][KINDS[kind]]
    assert points == {"two-words": f"falsefloor_two_words.{kind}:TwoWords"}
    assert "A. Nonymous" in (folder / "LICENSE").read_text(encoding="utf-8")


def test_the_prefix_may_be_given_or_not(tmp_path: Path) -> None:
    assert write_package("falsefloor-mine", "masker", into=tmp_path)[0].name == "falsefloor-mine"


@pytest.mark.parametrize(
    "name", ["", "Upper", "1st", "a b", "a--b", "-a", "a-", "../x", "a/b", "ä", "x" * 41, "falsefloor-"]
)
def test_a_name_that_cannot_be_written_everywhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="random-search"):
        write_package(name, "estimator", into=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_ours_is_refused_with_what_would_happen(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="falsefloor-clever/clever"):
        write_package("clever", "estimator", into=tmp_path)
    assert write_package("clever", "masker", into=tmp_path)[1]


@pytest.mark.parametrize("name", ["tensor", "none", "context", "sectors"])
def test_a_class_name_that_means_something_else_is_refused(name: str, tmp_path: Path) -> None:
    kind = "model" if name == "sectors" else "estimator"
    with pytest.raises(UsageError, match="choose another name"):
        write_package(name, kind, into=tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_package("mine", "check", into=tmp_path)
    kept = tmp_path / "falsefloor-mine/pyproject.toml"
    kept.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        write_package("mine", "estimator", into=tmp_path)
    assert kept.read_text() == "mine"


def test_an_unknown_kind_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'masker'"):
        write_package("mine", "maskers", into=tmp_path)


@pytest.mark.parametrize("author", ["two\nlines", "an escape \x1b[31m"])
def test_an_author_is_one_line_of_text(author: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one line"):
        write_package("mine", "check", into=tmp_path, author=author)


@pytest.mark.parametrize("author", ['"; evil = "', "back\\slash", 'Ada "A." O\'Brien', "Ärzte $$name $name"])
def test_an_authors_name_stands_in_the_metadata_as_it_is(author: str, tmp_path: Path) -> None:
    folder, _ = write_package("mine", "check", into=tmp_path, author=author)
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["authors"] == [{"name": author}]
