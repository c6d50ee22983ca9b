"""Local Hugging Face checkpoints (`hf:FOLDER`), of pictures and of sequences; needs the extra `hf`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from falsefloor.api import LoadedModel
from falsefloor.errors import DomainError, UsageError
from falsefloor.models.refs import needs, refusal

FORM = "hf:FOLDER, where config.json and model.safetensors are"
PICTURES, SEQUENCES = "ForImageClassification", "ForSequenceClassification"
PREPROCESSING = ("preprocessor_config.json", "image_processor_config.json")


class Picture(nn.Module):
    """Pixels from 0 to 1, normalised as the checkpoint's processor does, to logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=(pixels - self.mean) / self.std).logits
        return logits


class Sequence(nn.Module):
    """Whole numbers, the ids of tokens, to logits; padding is masked."""

    def __init__(self, model: nn.Module, padding: int | None) -> None:
        super().__init__()
        self.model, self.padding = model, padding

    def forward(self, tokens: Tensor) -> Tensor:
        ids = tokens.round().long()
        seen = None if self.padding is None else (ids != self.padding).long()
        logits: Tensor = self.model(input_ids=ids, attention_mask=seen).logits
        return logits


@dataclass(frozen=True)
class HuggingFaceModel:
    """`hf:FOLDER`: a checkpoint on this machine; nothing is downloaded, and no code of its is run.

    A model of pictures takes pixels from 0 to 1 of the size that its configuration names; one of sequences
    takes the ids of tokens, whose domain is a grid of whole numbers. Raises `UsageError` where there is no
    checkpoint or transformers is missing, `DomainError` for another kind of model.
    """

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, /) -> LoadedModel:
        folder = Path(ref).expanduser()
        config = _json(folder / "config.json")
        if not config:
            raise refusal(
                f"There is no checkpoint at {folder} (looked for config.json); write {FORM}. Models are not"
                " downloaded: fetch one first, huggingface-cli download NAME --local-dir FOLDER.",
                ref,
            )
        architecture = next(iter(config.get("architectures") or ()), "")
        if not architecture.endswith((PICTURES, SEQUENCES)):
            raise DomainError(
                f"{folder} is {architecture or config.get('model_type', 'of an unnamed kind')}; classifiers"
                f" of pictures (…{PICTURES}) and of sequences (…{SEQUENCES}) are judged. Others are given as"
                " python:FILE.py:build, in a module that returns logits (N, classes)."
            )
        if config.get("auto_map"):
            raise UsageError(
                f"{folder} brings code of its own ({', '.join(config['auto_map'])}), which is not run. If you"
                " trust it, load it in a Python file of yours: python:FILE.py:build."
            )
        model = _loaded(folder, pictures=architecture.endswith(PICTURES))
        files = tuple(
            str(path.resolve())
            for path in sorted((*folder.glob("*.json"), *folder.glob("*.safetensors"), *folder.glob("*.bin")))
        )
        classes = int(model.config.num_labels)
        if architecture.endswith(SEQUENCES):
            return LoadedModel(
                Sequence(model, model.config.pad_token_id).eval(),
                classes,
                (),
                bounds=(0.0, float(model.config.vocab_size - 1)),
                units="ids of tokens",
                files=files,
                step=1.0,
            )
        shape, mean, std = _pictures(folder, config)
        return LoadedModel(
            Picture(model, mean, std).eval(), classes, shape, units="pixel, 0 to 1", files=files
        )


def _loaded(folder: Path, *, pictures: bool) -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise needs("hf", "transformers", "hf") from error
    except Exception as error:  # one of its own needs does not fit this torch
        raise UsageError(f"hf: transformers cannot be imported here: {error}") from error
    try:
        # found on first use: what it needs is imported only then, and may not fit this torch
        kind = getattr(transformers, f"AutoModel{PICTURES if pictures else SEQUENCES}")
        return kind.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever its readers happen to raise
        first = str(error).strip().partition("\n")[0][:300]
        raise UsageError(
            f"{folder} cannot be loaded by transformers {transformers.__version__}"
            f" ({type(error).__name__}: {first}). Copy or save it again:"
            " model.save_pretrained(FOLDER)."
        ) from error


def _pictures(folder: Path, config: Mapping[str, Any]) -> tuple[tuple[int, ...], Tensor, Tensor]:
    """Shape of one picture, and what is subtracted and divided by."""
    told = next((found for name in PREPROCESSING if (found := _json(folder / name))), {})
    channels = int(config.get("num_channels", 3))
    size = told.get("crop_size") if told.get("do_center_crop") else told.get("size", config.get("image_size"))
    sides = _sides(size if size is not None else config.get("image_size"))
    shape = (channels, *sides) if sides else ()
    plain = told.get("do_normalize", bool(told)) is False or not told
    mean = [0.0] if plain else told.get("image_mean", [0.5])
    std = [1.0] if plain else told.get("image_std", [0.5])
    return shape, torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)


def _sides(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping) and {"height", "width"} <= size.keys():
        return int(size["height"]), int(size["width"])
    if isinstance(size, Mapping) and "shortest_edge" in size:
        return int(size["shortest_edge"]), int(size["shortest_edge"])
    return None


def _json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; empty where there is none. Raises `UsageError` for a damaged one."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}. Copy the checkpoint again.") from error
    return found if isinstance(found, dict) else {}
