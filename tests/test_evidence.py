"""Evidence is read under the names that it is given under, whoever gave it."""

from __future__ import annotations

import math
from pathlib import Path

from falsefloor.evidence import NAMES, WORDS, Evidence

REFERENCE = Path(__file__).parent.parent / "docs" / "plugins" / "reference.md"


def test_numbers_may_be_stored_as_words() -> None:
    seen = Evidence.read({"whitebox": "inf", "interval_low": "-inf", "lipschitz": 2, "fit": "weibull"})
    assert (seen.whitebox, seen.interval_low, seen.lipschitz, seen.fit) == (
        math.inf,
        -math.inf,
        2.0,
        "weibull",
    )


def test_what_is_no_fact_says_nothing() -> None:
    odd = {"capped": True, "lipschitz": math.nan, "slope": "nan", "cap": "wide", "margin": [1.0], "fit": 3.0}
    assert Evidence.read({**odd, "somebody's own": 1.0}) == Evidence()


def test_no_number_is_a_word_and_every_name_can_be_read() -> None:
    assert {"fit", "fit_reason", "step_reason", "gradient_source", "about"} == WORDS
    read = Evidence.read({name: "so" if name in WORDS else 1.5 for name in NAMES})
    assert all(getattr(read, name) == ("so" if name in WORDS else 1.5) for name in NAMES)


def test_authors_find_every_name_in_the_reference_and_no_other() -> None:
    table = REFERENCE.read_text().split("### Evidence")[1].split("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {name.strip(" `") for cell in first for name in cell.split(",")}
    core = {name for name in NAMES if name.startswith("gradient_") and not name.startswith("gradient_norm")}
    core |= {
        "unsettled",
        "batch_only",
        "repeat_shift",
        "batch_shift",
        "share_points",
        "share_other",
        "share_bound",
    }
    core |= {"about", "confidence"}
    assert told - {"queries_forward", "queries_backward"} == set(NAMES) - core
