"""Sphinx: what is written by hand, and beside it what is generated from the code when the docs are built."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import generated  # noqa: E402

import falsefloor  # noqa: E402

project = "falsefloor"
author = "The falsefloor maintainers"
version = release = falsefloor.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
smartquotes = False
exclude_patterns = ["_build", "**/*.py"]
html_theme = "furo"
html_title = f"falsefloor {release}"
html_theme_options = {"sidebar_hide_name": False}
html_static_path: list[str] = []
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# session output and tables are told apart by their fences; nothing here is highlighted as another language
suppress_warnings = ["misc.highlighting_failure"]


def plain_docstring(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `names`; Sphinx reads another markup, where * and | mean something."""
    for at, line in enumerate(lines):
        pieces = re.split(r"(``[^`]*``|`[^`]*`)", line)
        lines[at] = "".join(
            f"``{piece.strip('`')}``" if piece.startswith("`") else re.sub(r"([*|_])", r"\\\1", piece)
            for piece in pieces
        )


def setup(app: Any) -> None:
    generated.write(HERE / "_generated")
    app.connect("autodoc-process-docstring", plain_docstring)
