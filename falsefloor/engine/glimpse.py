"""Inputs as plain numbers, for `falsefloor inputs`: run as a process, so that no screen ever loads torch.

python -m falsefloor.engine.glimpse MODEL INPUTS LIMIT [BOUNDS] writes one line of JSON to the descriptor that
was its stdout; whatever a model or a plugin prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from falsefloor.errors import FalsefloorError

LONGEST = 112
"""Pixels a side: more than a terminal shows; larger pictures are thinned out."""


def glimpse(
    model: str, inputs: str, *, limit: int, bounds: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Facts of a model's inputs with the first ``limit`` as nested lists, scaled to [0, 1] by the bounds.

    Raises `FalsefloorError` as a run would.
    """
    from falsefloor.engine.session import Session

    spec: dict[str, Any] = {"use": model} | ({"bounds": list(bounds)} if bounds else {})
    found = Session().prepared(spec, inputs)
    low, high = found.facts["bounds"]
    shown = found.inputs[:limit].float()
    pictures: list[list[list[list[float]]] | None] = []
    for one in shown:
        image = one if one.ndim == 3 else one[None] if one.ndim == 2 else None
        if image is not None and image.shape[0] in (1, 3):
            step = max(1, -(-max(image.shape[1:]) // LONGEST))
            image = ((image[:, ::step, ::step] - low) / max(high - low, 1e-30)).clamp(0, 1).nan_to_num()
            pictures.append([[[round(float(v), 3) for v in row] for row in plane] for plane in image])
        else:
            pictures.append(None)
    ranges = [[float(one.min()), float(one.max())] for one in shown]
    return {**found.facts, "ranges": ranges, "pictures": pictures}


def main(arguments: list[str]) -> None:
    """Write the glimpse, or {"error": …, "exit_code": …}."""
    out = os.dup(1)
    os.dup2(2, 1)
    model, inputs, limit, *rest = arguments
    bounds = tuple(float(part) for part in rest[0].split(",")) if rest else None
    try:
        answer = glimpse(model, inputs, limit=int(limit), bounds=bounds)  # type: ignore[arg-type]
    except FalsefloorError as error:
        answer = {"error": str(error), "exit_code": error.exit_code}
    with os.fdopen(out, "w", encoding="utf-8") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main(sys.argv[1:])
