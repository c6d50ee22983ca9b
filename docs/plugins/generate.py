"""Writes the list of conformance checks from the kits: `python docs/plugins/generate.py [--check]`.

The kits are the one source, so that this page and what `falsefloor plugins check` runs never differ. With
--check it writes nothing and exits 1 where the page is stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from falsefloor.plugins import KINDS
from falsefloor.plugins.loading import make
from falsefloor.testing.kits import KITS

PAGE = Path(__file__).parent / "conformance.md"
SUBJECTS = {"estimator": "clever", "masker": "staircase", "gradient": "secant", "check": "contradiction"}
"""Plugins of ours to ask for their cases; the names do not depend on whom one asks."""
INTRODUCTION = """# The conformance checks

What `falsefloor plugins check NAME` and `falsefloor.testing` run, by kind of plugin.

`check_estimator(plugin)` raises with every check that failed, `raises=False` returns the results instead.
`expected_failures` maps a name to the reason why its failure is accepted; passing is then reported too.
`parametrize_with_checks(kind, plugins)` makes one pytest test of each. A check that does not apply (no
accelerator, no displacement offered) is skipped with the reason, and so is one whose problems the plugin
declines; one that declines everything fails, since nothing was checked. [What the kits try, and what
that cannot see](tried.md) says more.
"""
SIGNATURES = {
    "estimator": "check_estimator(estimator)",
    "masker": "check_masker(masker)",
    "gradient": "check_gradient_source(source)",
    "model": "check_model_source(source, ref)",
    "input": "check_input_source(source, ref, model)",
    "check": "check_check(check, facts=())",
}
TITLES = {
    "estimator": "Estimators",
    "masker": "Maskers",
    "gradient": "Gradient sources",
    "model": "Model sources",
    "input": "Input sources",
    "check": "Checks",
}


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(_section(kind) for kind in KINDS)


def _section(kind: str) -> str:
    if kind in SUBJECTS:
        cases = KITS[kind](make(kind, SUBJECTS[kind]))
    else:
        model = make("model", "digits")("mlp")
        extra = ["mlp"] if kind == "model" else ["0-3", model]
        cases = KITS[kind](make(kind, "digits"), *extra)
    names = []
    for case in cases:
        # once for all norms, and once for all facts
        name = re.sub(r" \[(l1|l2|linf)\]$", " (each norm)", case.name)
        name = re.sub(r"^(gives sound findings|same facts, same findings): .*$", r"\1 (each sample)", name)
        names.append(name)
    listed = "".join(f"- {name}\n" for name in dict.fromkeys(names))
    return f"\n## {TITLES[kind]}\n\n`falsefloor.testing.{SIGNATURES[kind]}`\n\n{listed}"


def main() -> int:
    wanted = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted:
            return 0
        print(f"{PAGE} is not what the kits say: run python {Path(__file__).name}", file=sys.stderr)
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
