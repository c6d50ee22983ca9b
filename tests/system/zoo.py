"""Plugins that break at import, in every way there is, and plugins that load and then lie."""

from __future__ import annotations

GOOD = '''
from dataclasses import dataclass
from typing import ClassVar
from falsefloor.api import Estimate, option

@dataclass(frozen=True)
class Plugin:
    """Says something."""
    api_version: ClassVar[int] = 1
    claim: ClassVar[str] = "lower_estimate"
    norms: ClassVar[frozenset] = frozenset(("l1", "l2", "linf"))
    value: float = option(0.5, help="a number", gt=0)

    def __call__(self, subject, inputs, labels, /, *, norm, context):
        raise NotImplementedError
'''

BAD = {
    "bad-raises": ("raise RuntimeError('no licence today')", "broken", "no licence today"),
    "bad-exits": ("import sys; sys.exit(3)", "broken", "sys.exit(3)"),
    "bad-hangs": ("import time; time.sleep(600)", "timed out", "time limit"),
    "bad-crashes": ("import ctypes; ctypes.string_at(0)", "broken", "SIGSEGV"),
    "bad-prints": ('print(\'{"schema": "mine"}\')\n' + GOOD, "healthy", "prints"),
    "bad-later": (GOOD.replace("[int] = 1", "[int] = 2"), "incompatible", "version 2"),
    "bad-lacks": ("x = 1", "broken", "Plugin"),
    "bad-absurd": (GOOD.replace("option(0.5", "option(-0.5"), "broken", "above 0"),
    "bad-untyped": (GOOD.replace("value: float", "value: dict"), "broken", "not supported"),
    "bad-needs": ("import a_module_that_is_not_there", "broken", "a_module_that_is_not_there"),
}
"""Distribution to (source, status, what its reason says); each offers the estimator of its own name."""

TWIN = {"twin-one": GOOD, "twin-two": GOOD}
"""Two strangers that offer one name, `twin`, and one that offers `clever`."""
THIEF = {"thief": GOOD}

LIARS = '''
from dataclasses import dataclass
from typing import ClassVar
from falsefloor.api import Estimate

EVERY = frozenset(("l1", "l2", "linf"))


class Upper:
    api_version: ClassVar[int] = 1
    claim: ClassVar[str] = "upper_bound"
    norms: ClassVar[frozenset] = EVERY


class Lower(Upper):
    claim: ClassVar[str] = "lower_bound"


class Unwitnessed(Upper):
    """An upper bound without a witness."""
    def __call__(self, subject, inputs, labels, /, *, norm, context):
        return Estimate(radius=inputs.flatten(1).sum(1) * 0 + 0.001)


class Untrue(Upper):
    """An upper bound whose witness changes nothing: the input itself."""
    def __call__(self, subject, inputs, labels, /, *, norm, context):
        return Estimate(radius=inputs.flatten(1).sum(1) * 0 + 0.001, witness=inputs.clone())


class Nearer(Upper):
    """An upper bound that says its true witness is nearer than it is."""
    def __call__(self, subject, inputs, labels, /, *, norm, context):
        scale = (labels * 0.6 + (1 - labels) * 1.4).reshape(-1, 1)
        return Estimate(radius=inputs.flatten(1).sum(1) * 0 + 0.001, witness=inputs * scale)


class Above(Lower):
    """A certificate that no point can keep."""
    def __call__(self, subject, inputs, labels, /, *, norm, context):
        return Estimate(radius=inputs.flatten(1).sum(1) * 0 + 0.9)


class Nan(Lower):
    def __call__(self, subject, inputs, labels, /, *, norm, context):
        return Estimate(radius=inputs.flatten(1).sum(1) * float("nan"))


class Negative(Lower):
    def __call__(self, subject, inputs, labels, /, *, norm, context):
        return Estimate(radius=inputs.flatten(1).sum(1) * 0 - 1)


class Shapeless(Lower):
    def __call__(self, subject, inputs, labels, /, *, norm, context):
        return Estimate(radius=inputs.flatten(1) * 0)


class Mutating(Lower):
    def __call__(self, subject, inputs, labels, /, *, norm, context):
        inputs += 0.25
        return Estimate(radius=inputs.flatten(1).sum(1) * 0 + 0.01)


class Raising(Lower):
    def __call__(self, subject, inputs, labels, /, *, norm, context):
        raise ArithmeticError("it does not add up")


class Exiting(Lower):
    def __call__(self, subject, inputs, labels, /, *, norm, context):
        raise SystemExit(3)


class Wordy(Lower):
    def __call__(self, subject, inputs, labels, /, *, norm, context):
        return "0.3"
'''

FAILING = {
    "unwitnessed": "without a witness",
    "nan": "NaN",
    "negative": "negative radius",
    "shapeless": "one floating point number",
    "mutating": "changed the inputs",
    "raising": "it does not add up",
    "exiting": "SystemExit",
    "wordy": "returned str",
}
"""Liars whose estimate is refused as a whole, and what the error says."""

CHECKS = '''
from typing import ClassVar
from falsefloor.api import CodeInfo, Finding

INFO = CodeInfo("a name", "suspect", "a summary", "a cure", "a source")


class Sound:
    """A note on every estimate, with what it was given."""
    api_version: ClassVar[int] = 1
    codes: ClassVar = {"SEEN": CodeInfo("seen", "note", "a summary", "a cure", "a source")}

    def __call__(self, facts, /):
        yield Finding("SEEN", "note", f"{facts.judged.estimator} said {facts.judged.radius:.3f}",
                      {"curves": len(facts.judged.curves), "others": len(facts.others)})


class Accuser:
    """Refutes everything, without a point."""
    api_version: ClassVar[int] = 1
    codes: ClassVar = {"WRONG": INFO}

    def __call__(self, facts, /):
        yield Finding("WRONG", "refuted", "because I say so", witness="a/point/that/nobody/stored")


class Raiser:
    """Fails."""
    api_version: ClassVar[int] = 1
    codes: ClassVar = {"NEVER": INFO}

    def __call__(self, facts, /):
        raise LookupError("where am I")
'''
