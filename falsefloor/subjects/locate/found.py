"""What was found to hide a gradient, and the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Located:
    """An operation that hides or distorts the gradient.

    submodule: its name, "" for the model's own forward; line: where in the model's code, if known. lost: the
    share of the gradient that does not get from its output to its input. displacement: the most that it (its
    submodule, where that keeps the shape) moved its input by, None where that means nothing. certain: whether
    what was seen leaves no other reading. passes: looks averaged.
    """

    operation: str
    submodule: str
    line: str
    kind: str
    lost: float
    displacement: float | None
    certain: bool
    passes: int = 1

    @property
    def words(self) -> str:
        """The finding as a sentence."""
        place = f"`{self.submodule}`" if self.submodule else "the model's own forward"
        place += f" ({self.line})" if self.line else ""
        said = f"{place}: {self.operation}, {_EFFECT[self.kind]}"
        if self.kind != "cast":
            said += f"; {self.lost:.0%} of the gradient is lost between its output and its input"
        if self.displacement is not None:
            said += f"; it moves its input by at most {self.displacement:.2g}"
        if self.passes > 1:
            said += f" (average of {self.passes} passes: the model is stochastic)"
        return said if self.certain else f"perhaps {said}"


_EFFECT = {
    "flat": "derivative zero",
    "cut": "no derivative at all",
    "saturation": "derivative underflows",
    "custom": "a custom function whose backward returns zeros",
    "cast": "which rounds values and passes the derivative as if it did not",
    "dead": "where the gradient ends",
}
