"""Conformance kits: everything the core relies on, as named checks that a plugin's author runs.

check_estimator(Constant())                                 raises, naming each check that failed
check_estimator(Constant(), raises=False)                   the same as a list of results
check_estimator(…, expected_failures={"rows": "why"})       known and accepted; passing is then a failure

@parametrize_with_checks("estimator", [Constant()])         the same for pytest, one test a check
def test_conformance(check):
    check()
"""

from falsefloor.testing.checks import check_check
from falsefloor.testing.common import Case, ConformanceError, Result
from falsefloor.testing.estimators import check_estimator
from falsefloor.testing.gradients import check_gradient_source
from falsefloor.testing.kits import parametrize_with_checks
from falsefloor.testing.maskers import check_masker
from falsefloor.testing.sources import check_input_source, check_model_source

__all__ = [
    "Case",
    "ConformanceError",
    "Result",
    "check_check",
    "check_estimator",
    "check_gradient_source",
    "check_input_source",
    "check_masker",
    "check_model_source",
    "parametrize_with_checks",
]
