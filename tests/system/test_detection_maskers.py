"""The published masks of the detection benchmark do what their families are named for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.models.python import PythonModel

FILE = Path(__file__).parents[2] / "benchmarks" / "maskers.py"
IMAGES, LABELS = (part[:20] for part in load_split(held_out=True))
CASES = {
    "mlp_shattered_thermometer": "zero",
    "cnn_shattered_dct": "zero",
    "mlp_stochastic_noise": "random",
    "mlp_gelu_stochastic_pruning": "random",
    "mlp_wide_vanishing_purified": "small",
    "mlp_vanishing_distilled": "small",
    "mlp_tanh_exploding_unstable": "large",
    "mlp_exploding_ripple": "large",
    "mlp_misdirected_tilted": "astray",
    "mlp_adv_misdirected_decoy": "astray",
    "linear_ill_conditioned_wavy": "small",
    "mlp_ill_conditioned_narrow": "small",
}


def gradient(module: nn.Module) -> Tensor:
    """Gradients (N, d) of the margin of the two largest logits; zeros where the graph is cut."""
    leaf = IMAGES.clone().requires_grad_(True)
    logits = module(leaf)
    if not logits.requires_grad:
        return torch.zeros(len(leaf), 64)
    top = logits.topk(2, dim=1).values
    (found,) = torch.autograd.grad((top[:, 0] - top[:, 1]).sum(), leaf, allow_unused=True)
    return torch.zeros(len(leaf), 64) if found is None else found.flatten(1)


def base_of(name: str) -> nn.Module:
    known = ("mlp-gelu", "mlp-wide", "mlp-tanh", "mlp-adv", "linear", "cnn", "mlp")
    base = next(model for model in known if name.startswith(model.replace("-", "_") + "_"))
    return DigitsModel()(base).module.requires_grad_(False)


@pytest.mark.parametrize("name", CASES)
def test_a_published_mask_keeps_the_classes_and_spoils_the_gradient(name: str) -> None:
    masked = PythonModel()(f"{FILE}:{name}").module.requires_grad_(False)
    plain = base_of(name)
    with torch.no_grad():
        assert torch.equal(masked(IMAGES).argmax(1), plain(IMAGES).argmax(1))
        again = masked(IMAGES), masked(IMAGES)
    assert torch.equal(*again) == (CASES[name] != "random")
    seen, true = gradient(masked), gradient(plain)
    share = seen.abs().sum(1) / true.abs().sum(1)
    cosine = torch.nn.functional.cosine_similarity(seen, true)
    what = CASES[name]
    if what == "zero":
        assert not seen.any()
    elif what == "small":
        assert float(share.median()) < 0.01
    elif what == "large":
        assert float(share.median()) > 10
    elif what == "astray":
        assert float(cosine.max()) < 0.7
        assert float(cosine.median()) < 0.3
