"""A picture of a case a warning, from real runs: `python docs/warnings/pictures.py [--into FOLDER] [CODE …]`.

Writes one SVG a code and `captions.json`, from which generate.py makes the pages. Every case is run through
falsefloor; where its warning is not raised, nothing is drawn and the script fails. A minute on one core; it
needs the extra `report`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import torch  # noqa: E402
from cases import ceiling, contradiction, domain, gradient, numerics, statistics  # noqa: E402
from draw import save  # noqa: E402
from generate import CAPTIONS, PICTURES  # noqa: E402

CASES = {
    code: case
    for family in (gradient, contradiction, statistics, numerics, ceiling, domain)
    for code, case in family.CASES.items()
}


def make(codes: Sequence[str], folder: Path) -> dict[str, Mapping[str, str]]:
    """Draw the cases of these codes into the folder; their words by code."""
    words: dict[str, Mapping[str, str]] = {}
    for code in codes:
        case = CASES[code]()
        save(case.shown, folder / f"{code}.svg")
        words[code] = {"alt": case.alt, "caption": case.caption}
    return words


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codes", nargs="*", metavar="CODE", help="all, where none is named")
    parser.add_argument("--into", type=Path, default=PICTURES, metavar="FOLDER")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)  # figures and captions must not depend on the machine's cores
    asked.into.mkdir(parents=True, exist_ok=True)
    path = asked.into / CAPTIONS
    known = json.loads(path.read_text(encoding="utf-8")) if asked.codes and path.exists() else {}
    words = known | make(asked.codes or list(CASES), asked.into)
    ordered = {code: words[code] for code in CASES if code in words}
    path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(asked.codes or CASES)} pictures in {asked.into}")


if __name__ == "__main__":
    main(sys.argv[1:])
