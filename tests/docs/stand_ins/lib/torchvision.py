"""As much of torchvision as the documentation uses."""

from types import SimpleNamespace

from falsefloor.models.digits import DigitsModel


def resnet18(weights: str) -> object:
    assert weights == "IMAGENET1K_V1"
    return DigitsModel()("cnn").module


models = SimpleNamespace(resnet18=resnet18)
