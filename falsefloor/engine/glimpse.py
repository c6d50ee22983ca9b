"""Inputs as plain numbers, for `falsefloor inputs`: asked of a process, so that no command loads torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 112
"""Pixels a side: more than a terminal shows; larger pictures are thinned out."""


def main(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """In a process of its own: facts of a model's inputs with the first ``limit`` as nested lists, scaled to
    [0, 1] by the bounds.

    Raises `FalsefloorError` as a run would.
    """
    from falsefloor.engine.session import Session

    bounds = request["bounds"]
    spec: dict[str, Any] = {"use": request["model"]} | ({"bounds": bounds} if bounds else {})
    found = Session().prepared(spec, request["inputs"])
    low, high = found.facts["bounds"]
    shown = found.own(found.inputs)[: request["limit"]].float()
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
    parts = [(name, type(part).__name__) for name, part in found.module.named_modules() if name]
    yield {**found.facts, "ranges": ranges, "pictures": pictures, "modules": parts}
