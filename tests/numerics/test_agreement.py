"""A gradient is held against the function by one rule, in numbers that need no tensor."""

import subprocess
import sys

from falsefloor.numerics.agreement import AGREE, AGREE_FINE, CORRELATED, FINE, disagreement


def test_the_band_holds_its_own_ends_and_nothing_beyond() -> None:
    for ratio in AGREE:
        assert disagreement(ratio, 1.0, share=0.5) is None
    assert disagreement(0.74, 1.0, share=0.5) == "is 0.74 times what the function does"
    assert disagreement(1.34, None, share=0.5) == "is 1.34 times what the function does"


def test_fine_steps_have_a_wider_band_and_no_direction() -> None:
    for ratio in AGREE_FINE:
        assert disagreement(ratio, 0.0, share=FINE * 0.9) is None
        assert disagreement(ratio, 1.0, share=FINE) is not None


def test_a_gradient_of_the_right_length_must_point_the_right_way() -> None:
    assert disagreement(1.0, CORRELATED, share=0.5) is None
    assert disagreement(1.0, CORRELATED - 0.01, share=0.5) == "hardly follows what the function does"
    assert disagreement(1.0, None, share=0.5) is None


def test_stored_numbers_are_judged_without_torch() -> None:
    code = "import sys, falsefloor.numerics.agreement; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
