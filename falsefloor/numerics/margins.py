"""Margins of logits: how far the label's logit lies above each other class's.

One place decides what a tie is: it counts as misclassified, since at a tie the label is not *the* answer.
"""

from __future__ import annotations

import torch
from torch import Tensor


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """m_j = f_c - f_j for logits (N, K) and labels c (N,): (N, K), with +inf at j = c."""
    own = logits.gather(1, labels.reshape(-1, 1))
    return (own - logits).scatter(1, labels.reshape(-1, 1), torch.inf)


def runner_up(logits: Tensor, labels: Tensor) -> Tensor:
    """The strongest class other than the label, (N,); the first of equals. Needs K ≥ 2."""
    others = logits.scatter(1, labels.reshape(-1, 1), -torch.inf)
    return others.argmax(dim=1)


def predicted(logits: Tensor, labels: Tensor | None = None) -> Tensor:
    """The predicted class of each row, (N,).

    With labels, ties count as misclassified: the label where its logit is strictly the largest, the
    strongest other class elsewhere, on a NaN margin too. So ``predicted(f, y) != y`` is "misclassified".
    """
    if labels is None or logits.shape[1] < 2:
        return logits.argmax(dim=1)
    wins = (margins(logits, labels) > 0).all(dim=1)
    return torch.where(wins, labels, runner_up(logits, labels))
