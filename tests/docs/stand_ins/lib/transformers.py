"""As much of transformers as the documentation uses."""

from types import SimpleNamespace

import torch

from falsefloor.models.digits import DigitsModel


class AutoModelForImageClassification(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = DigitsModel()("cnn").module

    @classmethod
    def from_pretrained(cls, name: str) -> "AutoModelForImageClassification":
        assert "/" in name
        return cls()

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.model(pixel_values))
