"""The three recipes of docs/your-model.md, run as they stand there on checkpoints that were made here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "your-model.md"
DECLARED = """
import torch

library = torch.library.Library("torchvision", "FRAGMENT")  # a wheel for CUDA's torch beside a CPU's
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
MADE = {
    "recipe": """
import torchvision
path.mkdir(parents=True)
torch.save(torchvision.models.resnet18().state_dict(), path / "resnet18-f37072fd.pth")
""",
    "from_timm": """
import timm
from safetensors.torch import save_file
(path / "refs").mkdir(parents=True)
(path / "refs" / "main").write_text("made")
(path / "snapshots" / "made").mkdir(parents=True)
save_file(timm.create_model("resnet18").state_dict(), str(path / "snapshots" / "made" / "model.safetensors"))
""",
    "from_transformers": """
from transformers import ViTConfig, ViTForImageClassification
sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, num_labels=5, **sizes)).save_pretrained(path)
""",
}
PLACES = {
    "recipe": "torch/hub/checkpoints",
    "from_timm": "hub/models--timm--resnet18.a1_in1k",
    "from_transformers": "google/vit-base-patch16-224",
}
NEEDS = {"recipe": "torchvision", "from_timm": "timm", "from_transformers": "transformers"}


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(folder / "hub"),
        "TORCH_HOME": str(folder / "torch"),
    }
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=os.environ | offline, capture_output=True, text=True
    )


def recipe(name: str) -> str:
    found = re.search(rf"```python\n(# {name}\.py\n.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert found is not None
    return found[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_a_recipe_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    if not any((Path(place) / NEEDS[name]).is_dir() for place in sys.path):
        pytest.skip(f"{NEEDS[name]} is not installed")
    made = python(
        tmp_path, "-c", f"from pathlib import Path\npath = Path({PLACES[name]!r})\n{DECLARED}{MADE[name]}"
    )
    assert made.returncode == 0, made.stderr
    (tmp_path / f"{name}.py").write_text(DECLARED + recipe(name))
    np.savez(tmp_path / "batch.npz", x=np.random.default_rng(0).random((1, 3, 32, 32)).astype(np.float32))
    run = python(
        tmp_path,
        *("-m", "falsefloor", "--store", str(tmp_path / "runs"), "run", "--json"),
        *("--model", f"python:{name}.py:build", "--inputs", "npz:batch.npz"),
        *("--estimator", "clever:targets=race,batches=1,samples=2", "--no-ceiling", "--recover", "off"),
    )
    assert run.returncode == 0, run.stderr
    told: dict[str, Any] = json.loads(run.stdout)
    assert [one["status"] for one in told["estimates"]] == ["ok"]
