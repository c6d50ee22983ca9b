"""One grey level of an 8-bit image, where a model's words say that its inputs are one."""

from __future__ import annotations

import pytest

from falsefloor.engine.observe import grey_level


@pytest.mark.parametrize("words", ["pixel, 8-bit", "8 bit grey levels", "uint8 over 255", "steps of 1/255"])
def test_words_for_eight_bits_are_understood(words: str) -> None:
    assert grey_level(words, (0.0, 1.0)) == pytest.approx(1 / 255)
    assert grey_level(words, (-1.0, 1.0)) == pytest.approx(2 / 255)


@pytest.mark.parametrize("words", ["", "pixel, 0 to 1 in steps of 1/16", "18-bit sensor", "metres", "1/2550"])
def test_other_words_are_not(words: str) -> None:
    assert grey_level(words, (0.0, 1.0)) is None


def test_a_domain_without_width_has_no_levels() -> None:
    assert grey_level("8-bit", (1.0, 1.0)) is None
