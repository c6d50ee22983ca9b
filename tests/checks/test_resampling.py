"""What four times the samples say of a score: which regime a ramp is in, and whether a doubt stands."""

from __future__ import annotations

import math
from typing import Any

import pytest
from stored_facts import estimate, facts, more, steps

from falsefloor.api import Finding
from falsefloor.checks import gradient, statistics

N, D = 1000, 64


def spiky(radius: float = 0.0012, *, before: float = 0.3, first: Any = (), **found: Any) -> Finding:
    judged = estimate(before, gradient_norm_median=0.0, **dict(first))
    (finding,) = gradient.spiky(facts(judged, resampled=more(radius, **found))) or []
    return finding


def unstable(radius: float, *, half: float = 60.0, capped: float = 0.0, capped_again: float = 0.0) -> Finding:
    judged = estimate(0.1, maximum_half=half, capped=capped)
    (finding,) = statistics.unstable(facts(judged, resampled=more(radius, capped=capped_again))) or []
    return finding


@pytest.mark.parametrize("delta", [1e-8, 1e-6, 1e-5, 1e-3, 0.01, 0.1])
def test_the_share_of_flat_samples_gives_the_ramps_share_back(delta: float) -> None:
    found = spiky(vanished_share=(1 - delta) ** D).evidence
    # what a share near 1 holds of delta in double precision
    assert found["delta"] == pytest.approx(delta, rel=1e-6)
    assert found["n_d_delta"] == pytest.approx(N * D * delta, rel=1e-6)


@pytest.mark.parametrize(
    ("delta", "said"),
    [
        (1e-6, "N*D*delta is about 0.064, below 1;"),
        (1e-5, "N*D*delta is about 0.64, near 1;"),
        (1e-2, "N*D*delta is about 640, above 1;"),
    ],
)
def test_the_message_names_the_regime(delta: float, said: str) -> None:
    assert said in spiky(vanished_share=(1 - delta) ** D).message


def test_where_nothing_steep_was_met_there_is_only_a_bound() -> None:
    """By the rule of three; the share was counted among 4N samples of the same ball, or among N."""
    assert spiky(vanished_share=1.0).evidence["n_d_delta"] == pytest.approx(3 / 4)
    other = spiky(vanished_share=1.0, sampling_radius=0.2, first={"vanished_share": 1.0})
    assert other.evidence["n_d_delta"] == pytest.approx(3)
    assert "N*D*delta is below 3: no random hit;" in other.message


def test_where_no_sample_was_flat_the_share_is_not_estimated() -> None:
    finding = spiky(vanished_share=0.0)
    assert "N*D*delta" not in finding.message and "delta" not in finding.evidence
    assert "falls from 0.3 to 0.0012" in finding.message


def test_another_ball_counts_its_own_samples_and_not_the_first_ones() -> None:
    other = spiky(vanished_share=0.9, sampling_radius=0.2, first={"vanished_share": 0.5})
    assert other.evidence["flat_share"] == 0.5
    assert spiky(vanished_share=0.9, first={"vanished_share": 0.5}).evidence["flat_share"] == 0.9


@pytest.mark.parametrize("samples", [1000, 512_000])
@pytest.mark.parametrize("flat", [1.0, 0.99, 0.3])
def test_the_longest_messages_still_fit_a_line(samples: int, flat: float) -> None:
    judged = estimate(0.0008123, gradient_norm_median=0.012, gradient_norm_max=1.234e3)
    seen = more(0.0003456, samples=samples, dimension=150_528, vanished_share=flat)
    (finding,) = gradient.spiky(facts(judged, resampled=seen)) or []
    assert "N*D*delta" in finding.message and len(finding.message) < 200


@pytest.mark.parametrize(
    ("radius", "said"),
    [(0.0012, "falls from 0.3 to 0.0012"), (0.31, "rises from 0.3 to 0.31"), (0.299, "stays at 0.3")],
)
def test_the_message_says_what_became_of_the_score(radius: float, said: str) -> None:
    finding = spiky(radius)
    assert finding.message.endswith(f"at 4 times the samples the score {said}")
    assert finding.severity == "suspect"
    assert finding.evidence["resampled_change"] == pytest.approx(radius / 0.3 - 1)


def test_a_maximum_that_grew_is_no_doubt_where_the_score_stays_with_more_samples() -> None:
    assert unstable(0.0901).severity == "note"
    assert unstable(0.2).severity == "note", "on the safe side"
    assert unstable(0.0899).severity == "suspect"
    assert unstable(0.05).message.endswith("at 4 times the samples the score falls from 0.1 to 0.05")


def test_steep_pieces_that_more_samples_do_not_change_are_a_note() -> None:
    """Recurrent nets: a largest gradient of 10 to 80 times the median, and a score that stays."""
    steep = estimate(0.1, gradient_norm_max=5000.0)
    (stays,) = gradient.spiky(facts(steep, resampled=more(0.091))) or []
    (falls,) = gradient.spiky(facts(steep, resampled=more(0.089))) or []
    (capped,) = gradient.spiky(facts(steep, resampled=more(0.1, capped=1.0))) or []
    (zeros,) = gradient.spiky(facts(estimate(0.1, gradient_norm_median=0.0), resampled=more(0.1))) or []
    assert [one.severity for one in (stays, falls, capped, zeros)] == ["note", *["suspect"] * 3]


def test_few_differences_yield_to_many_gradients_that_say_no_less() -> None:
    """Recurrent nets: 16 points whose score falls with 64, where 1,000 gradients put the floor as high."""

    def few(radius: float, *others: Any, **observed: Any) -> str:
        judged = estimate(radius, estimator="finite-difference", plateau_scale=0.01, gradient_norm_max=5000.0)
        again = {**more(0.05, of="finite-difference"), **more(0.1)}
        (found,) = gradient.spiky(facts(judged, *others, resampled=again, **observed)) or []
        return found.severity

    calm, spiky = estimate(0.1), estimate(0.1, gradient_norm_max=5000.0)
    assert few(0.105, calm) == few(0.105, spiky) == "note"
    assert few(0.111, calm) == "suspect"
    assert few(0.105) == few(0.105, estimate(0.1, vanished_share=0.6)) == "suspect"
    assert few(0.105, calm, gradients=steps(0.5, ratio=2.1)) == "suspect"


def test_a_ramp_stays_in_doubt_though_its_score_stays() -> None:
    """Where every sample meets a riser the score stays, and the gradient is not the function's (FF102)."""
    over = {"gradients": steps(0.5, ratio=2.1)}
    steep = estimate(0.001, gradient_norm_max=960.0)
    (ramp,) = gradient.spiky(facts(steep, resampled=more(0.001), **over)) or []
    flat = estimate(0.001, gradient_norm_max=960.0, vanished_share=0.6)
    (sparse,) = gradient.spiky(facts(flat, resampled=more(0.001))) or []
    growing = estimate(0.1, maximum_half=60.0)
    (half,) = statistics.unstable(facts(growing, resampled=more(0.1), **over)) or []
    assert [one.severity for one in (ramp, sparse, half)] == ["suspect"] * 3


def test_a_score_at_its_cap_or_on_a_few_lucky_samples_stays_in_doubt() -> None:
    assert unstable(0.1, capped=1.0).severity == "suspect"
    assert unstable(0.1, capped_again=1.0).severity == "suspect"
    assert unstable(0.1, half=0.0).severity == "suspect"


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"reason": "failed: no room"},
        {**more(0.1)["clever"], "radius": "nan"},
        {**more(0.1)["clever"], "dimension": 0},
        {**more(0.1)["clever"], "samples": None},
        "word",
    ],
)
def test_without_usable_facts_the_rules_say_what_they_always_said(broken: Any) -> None:
    judged = estimate(gradient_norm_max=900.0, maximum_half=60.0)
    for rule in (gradient.spiky, statistics.unstable):
        plain = rule(facts(judged))
        assert plain and plain == rule(facts(judged, resampled={"clever": broken}))
        assert plain == rule(facts(judged, resampled=more(0.01, of="another")))
        assert plain[0].severity == "suspect"


def test_a_score_of_nothing_moves_without_bounds() -> None:
    assert spiky(0.01, before=0.0).evidence["resampled_change"] == math.inf
    assert spiky(0.0, before=0.0).evidence["resampled_change"] == 0.0
