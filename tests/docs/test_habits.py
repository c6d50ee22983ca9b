"""The project's own papers are true: who to cite, what is open, what an editor and a hook start."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import falsefloor
from falsefloor.cli.app import app
from falsefloor.plugins.names import discover
from falsefloor.report.results import Results

ROOT = Path(__file__).parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_what_is_cited_is_this_version() -> None:
    assert f"\nversion: {falsefloor.__version__}\n" in read("CITATION.cff")


def test_every_first_issue_is_still_open() -> None:
    listed = read("CONTRIBUTING.md").partition("## First issues")[2]
    names = {plugin.name for plugin in discover() if plugin.own}
    runs = next(group.typer_instance for group in app.registered_groups if group.name == "runs")
    assert runs is not None and runs.registered_callback is not None
    still_open = {
        "safetensors:": "safetensors" not in names,
        "runs --tag": "tag" not in inspect.signature(runs.registered_callback.callback or print).parameters,
        "adds noise": "noise" not in names,
        "observations=True": "observations" not in inspect.signature(Results.to_pandas).parameters,
    }
    assert listed.count("\n- ") == len(still_open)
    for words, is_open in still_open.items():
        assert words in listed and is_open, words


def test_what_the_containers_and_hooks_start_exists() -> None:
    target = json.loads(read(".devcontainer/devcontainer.json"))["postCreateCommand"].removeprefix("make ")
    assert target == ".venv/.ready" and "READY := $(VENV)/.ready" in read("Makefile")
    assert set(re.findall(r"\.venv/bin/(\S+)", read(".pre-commit-config.yaml"))) == {"ruff"}


def test_every_template_asks_for_what_repeats_the_matter() -> None:
    for name in ("bug", "wrong-number"):
        assert "falsefloor doctor" in read(f".github/ISSUE_TEMPLATE/{name}.md")
