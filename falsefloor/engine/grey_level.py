"""The grey level of an 8-bit image, where a model says that this is what its inputs are.

A claim below one grey level says nothing about any image that can be stored (FF701).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LEVELS = 255
_EIGHT_BITS = re.compile(
    r"\b8[- ]?bits?\b|\buint8\b|(?<!\d)1/255\b|\b255ths\b|\bgr[ae]y levels?\b", re.IGNORECASE
)


def grey_level(units: str, bounds: Sequence[float]) -> float | None:
    """One level in the inputs' own units, the same distance in every norm; None where the units differ.

    units: a model's words for one unit of its input, such as "pixel, 8-bit grey levels over 255". bounds: the
    lowest and the highest value of any coordinate.
    """
    low, high = bounds
    if not _EIGHT_BITS.search(units) or not high > low:
        return None
    return (high - low) / LEVELS


__all__ = ["LEVELS", "grey_level"]
