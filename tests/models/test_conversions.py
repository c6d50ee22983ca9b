"""Checkpoints and files of other libraries, small and real, judged as these libraries answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from falsefloor.engine.session import Session
from falsefloor.errors import UsageError

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]  # theirs, at import

IDS = np.array([[5, 7, 9, 0, 0], [3, 8, 2, 11, 4]])
PIXELS = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def torchvision_beside_this_torch() -> Iterator[None]:
    """Its wheel holds operators for CUDA's torch; whoever imports it on a CPU needs two of them declared."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def tokens(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=40, max_position_embeddings=16, num_labels=3, **sizes)
    folder = tmp_path_factory.mktemp("bert")
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    np.savez(folder / "ids.npz", x=IDS)
    return folder


def test_a_checkpoint_of_sequences_takes_ids_on_their_grid(transformers: Any, tokens: Path) -> None:
    found = Session().prepared({"use": f"hf:{tokens}"}, f"npz:{tokens}/ids.npz")
    own = transformers.AutoModelForSequenceClassification.from_pretrained(tokens).eval()
    with torch.no_grad():
        answers = own(torch.tensor(IDS), attention_mask=torch.tensor(IDS != 0).long()).logits.argmax(1)
    assert found.facts["predicted"] == answers.tolist()
    assert found.grid is not None and found.facts["bounds"] == [0, 39]


def test_it_is_judged_behind_its_embedding_beside_the_mask_of_its_padding(tokens: Path) -> None:
    plain = Session().prepared({"use": f"hf:{tokens}"}, f"npz:{tokens}/ids.npz")
    inside = Session().prepared({"use": f"hf:{tokens}:at=embedding"}, f"npz:{tokens}/ids.npz")
    assert inside.facts["shape"] == [5, 16] and inside.grid is None
    assert inside.facts["predicted"] == plain.facts["predicted"]
    assert "word_embeddings" in inside.facts["units"]
    for at in range(2):
        subject = inside.subject(inside.module, at=at)
        there = subject(inside.inputs[at : at + 1])
        assert torch.allclose(there, plain.module(plain.inputs[at : at + 1]), atol=1e-6)


def test_a_checkpoint_of_pictures_takes_pixels_normalised_as_its_processor_says(
    transformers: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(image_size=8, patch_size=4, num_labels=3, **sizes)
    own = transformers.ViTForImageClassification(config).eval()
    own.save_pretrained(tmp_path)
    processor = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({**processor, "size": {"height": 8, "width": 8}})
    )
    np.savez(tmp_path / "pixels.npz", x=PIXELS)
    found = Session().prepared({"use": f"hf:{tmp_path}"}, f"npz:{tmp_path}/pixels.npz")
    with torch.no_grad():
        expected = own(pixel_values=(torch.tensor(PIXELS) - 0.5) / 0.25).logits
        assert torch.allclose(found.module(torch.tensor(PIXELS)), expected, atol=1e-6)
    assert (found.classes, found.facts["units"]) == (3, "pixel, 0 to 1")


def test_a_checkpoint_without_its_weights_is_refused_with_the_cure(transformers: Any, tokens: Path) -> None:
    (tokens / "model.safetensors").rename(tokens / "elsewhere")
    try:
        with pytest.raises(UsageError, match=r"cannot be loaded by transformers.*save_pretrained\(FOLDER\)"):
            Session().prepared({"use": f"hf:{tokens}"}, f"npz:{tokens}/ids.npz")
    finally:
        (tokens / "elsewhere").rename(tokens / "model.safetensors")


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def onnx_file(path: Path, *, fixed: bool = False) -> Path:
    """The perceptron, written node by node: torch's own exporter needs a package more."""
    onnx = pytest.importorskip("onnx")
    helper, state = onnx.helper, {name: t.numpy() for name, t in perceptron().state_dict().items()}
    rows = 1 if fixed else "n"
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"], axis=1),
            helper.make_node("Gemm", ["flat", "1.weight", "1.bias"], ["hidden"], transB=1),
            helper.make_node("Relu", ["hidden"], ["on"]),
            helper.make_node("Gemm", ["on", "3.weight", "3.bias"], ["logits"], transB=1),
        ],
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [rows, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [rows, 3])],
        [onnx.numpy_helper.from_array(value, name) for name, value in state.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, str(path))
    return path


def test_an_onnx_model_answers_as_the_model_that_it_was(tmp_path: Path) -> None:
    pytest.importorskip("onnx2torch")
    file = onnx_file(tmp_path / "net.onnx")
    np.savez(tmp_path / "pixels.npz", x=PIXELS)
    found = Session().prepared({"use": f"onnx:{file}"}, f"npz:{tmp_path}/pixels.npz")
    assert torch.allclose(found.module(torch.tensor(PIXELS)), perceptron()(torch.tensor(PIXELS)), atol=1e-6)
    assert found.classes == 3


def test_a_truncated_onnx_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    pytest.importorskip("onnx2torch")
    file = onnx_file(tmp_path / "net.onnx")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UsageError, match=r"cannot be read as an ONNX model.*torch\.onnx\.export"):
        Session().prepared({"use": f"onnx:{file}"}, "digits:0")
