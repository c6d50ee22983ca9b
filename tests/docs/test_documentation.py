"""The documentation keeps its word: links lead somewhere, commands exist, examples run, it builds."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest
from sample_run import sample
from warm import Forker

from falsefloor.checks.catalogue import CATALOGUE
from falsefloor.cli.app import ANYWHERE, commands
from falsefloor.store.reader import RunReader
from falsefloor.study.file import study_from
from falsefloor.tui.actions import ACTIONS

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
PAGES = [page for page in PAGES if not {"_build", "_generated"} & set(page.parts)]
GENERATED = frozenset(("_generated/commands.md", "_generated/keys.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def fences(kind: str) -> list[Any]:
    return [
        pytest.param(body, id=f"{page.relative_to(ROOT)}:{n}")
        for page in PAGES
        for n, (found, body) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
        if found == kind
    ]


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if re.match(r"https?:|mailto:", link) or link in GENERATED:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {link}"


def spoken_commands() -> list[Any]:
    """Every `$ falsefloor …` of a console block, with its continuation lines."""
    found = []
    for page in PAGES:
        for kind, body in FENCE.findall(page.read_text(encoding="utf-8")):
            if kind == "console":
                for line in re.sub(r"\\\n\s*", " ", body).splitlines():
                    if match := re.match(r"\$ (?:ssh box -t )?(falsefloor .*)", line):
                        found.append(pytest.param(match[1], id=f"{page.name}: {match[1][:60]}"))
    return found


@pytest.mark.parametrize("line", spoken_commands())
def test_every_command_and_option_that_a_page_shows_exists(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command = commands()
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    while words and not words[0].startswith("-") and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
        options |= {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    known = options | set(ANYWHERE) | {"--help", "-h"}
    for word in words:
        if word.startswith("-") and not re.match(r"-\d", word):
            assert word.split("=")[0] in known, f"{line}: no option {word}"
    if getattr(command, "commands", None) and words and command.name != "runs":
        assert words[0].startswith("-"), f"{line}: no command {words[0]}"


@pytest.mark.parametrize("body", fences("toml"))
def test_every_study_in_the_documentation_can_be_read(body: str) -> None:
    data = tomllib.loads(body)
    if "estimators" in data or "models" in data:
        study_from({"inputs": "digits:0", **data})


@pytest.mark.parametrize("body", fences("pycon"))
def test_every_example_session_prints_what_it_says(body: str) -> None:
    example = doctest.DocTestParser().get_doctest(body, {}, "example", None, 0)
    assert example.examples
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert result.failed == 0


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    specification = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("docs") / "_generated"
    module.write(folder)
    return folder


def test_the_generated_pages_name_every_command_option_and_key(generated: Path) -> None:
    page = (generated / "commands.md").read_text(encoding="utf-8")
    for name, command in commands().commands.items():
        assert f"## falsefloor {name}\n" in page
        for one in command.params:
            for option in one.opts:
                if option.startswith("--") and option != "--help":
                    assert f"`{option}" in page, (name, option)
    keys = (generated / "keys.md").read_text(encoding="utf-8")
    for action in ACTIONS:
        assert action.help.replace("|", "\\|") in keys


def test_every_warning_has_its_page_and_no_page_is_of_a_code_that_is_gone() -> None:
    pages = {page.stem for page in (ROOT / "docs" / "warnings").glob("FF*.md")}
    assert pages == set(CATALOGUE)


def test_the_documentation_builds_without_a_warning(tmp_path: Path, forker: Forker) -> None:
    pytest.importorskip("sphinx", reason="the extra docs is not installed: make docs")
    pytest.importorskip("furo", reason="the extra docs is not installed: make docs")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-d", str(tmp_path / "trees"), str(ROOT / "docs")]
    with (tmp_path / "said").open("w+") as said:
        # by a fork, which has torch imported already
        building = forker.popen([*command, str(tmp_path / "html")], stdin=DEVNULL, stdout=said, stderr=said)
        assert building.wait() == 0, Path(said.name).read_text(encoding="utf-8")
    assert (tmp_path / "html" / "index.html").exists()


@pytest.mark.parametrize("study", sorted(ROOT.glob("benchmarks/**/*.toml")), ids=lambda path: path.name)
def test_every_study_of_the_benchmarks_can_be_read(study: Path) -> None:
    assert study_from(tomllib.loads(study.read_text(encoding="utf-8"))).models


def test_the_readme_is_read_in_a_minute_and_the_results_are_one_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    words = re.sub(r"\(\S+\)|[│─|`]", " ", readme).split()
    assert len(words) < 700
    # 240 words are a minute
    assert len(readme[: readme.index("$ make test")].split()) < 240
    assert len((ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").split()) <= 1500


def test_every_key_of_a_runs_document_is_explained(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path)) as reader:
        document = reader.document()
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    known = {*document, *document["run"], *document["estimates"][0], *document["observations"][0]}
    assert not [key for key in sorted(known) if f"`{key}`" not in page]


def test_every_place_for_a_table_is_one_that_a_benchmark_fills() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    places = re.findall(
        r"<!-- (\w+)((?: \w+)?) -->\n(.*?)<!-- /\1\2 -->", "".join(map(Path.read_text, pages)), re.DOTALL
    )
    assert len(places) > 10
    for script, part, held in places:
        path = min(ROOT.glob(f"benchmarks/**/{script}.py"), key=lambda path: len(path.parts))
        text = path.read_text(encoding="utf-8")
        assert "from pages import" in text and part.strip() in text, (script, part)
        # the plan is computed
        assert "easured 20" in held or script == "plan", f"{path} --write was not run: {part}"


def test_the_plan_is_what_its_script_prints() -> None:
    script = ROOT / "benchmarks" / "plan.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    first, *rows = done.stdout.splitlines()
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert "\n".join(rows) in page
    assert all(number in page for number in re.findall(r"\d[\d,]+", first))
