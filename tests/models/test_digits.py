"""The embedded data and models: what is shipped is what the documentation says."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from falsefloor.api import LoadedModel
from falsefloor.errors import DomainError, UsageError
from falsefloor.models.digits import BUILDERS, DATA, DigitsInputs, DigitsModel, load_split

TABLE = (DATA / "MODELS.md").read_text(encoding="utf-8")


def test_there_are_1797_images_and_a_balanced_held_out_part() -> None:
    train, train_labels = load_split(held_out=False)
    held, held_labels = load_split(held_out=True)
    assert (len(train), len(held)) == (1297, 500)
    assert held_labels.bincount().tolist() == [50] * 10
    assert train.shape[1:] == held.shape[1:] == (1, 8, 8)
    assert (held.dtype, held_labels.dtype) == (torch.float32, torch.int64)
    assert (train.min().item(), train.max().item()) == (0.0, 1.0)
    assert torch.equal((held * 16).round(), held * 16)
    assert len(train_labels) == 1297


def test_no_held_out_image_is_in_the_training_part() -> None:
    train, _ = load_split(held_out=False)
    held, _ = load_split(held_out=True)
    distance = torch.cdist(held.flatten(1), train.flatten(1), p=1)
    assert distance.min().item() > 0


@pytest.mark.parametrize("name", BUILDERS)
def test_a_model_reaches_the_accuracy_in_its_table_and_is_ready_for_use(name: str) -> None:
    loaded = DigitsModel()(name)
    images, labels = load_split(held_out=True)
    assert isinstance(loaded.module, nn.Sequential)
    assert not loaded.module.training
    accuracy = (loaded.module(images).argmax(dim=1) == labels).double().mean().item()
    row = re.search(rf"`digits:{name}` .*?\| (\d+\.\d) %", TABLE)
    assert row is not None
    # two images: other processors round other logits
    assert accuracy == pytest.approx(float(row[1]) / 100, abs=0.004)
    assert (loaded.classes, loaded.input_shape, loaded.bounds) == (10, (1, 8, 8), (0.0, 1.0))


def test_the_default_model_is_right_on_96_percent() -> None:
    images, labels = load_split(held_out=True)
    assert (DigitsModel()("mlp").module(images).argmax(dim=1) == labels).double().mean().item() >= 0.96


def test_the_default_inputs_of_a_model_can_be_loaded_and_are_classified_correctly() -> None:
    loaded = DigitsModel()("mlp")
    assert loaded.inputs == "digits:0-9"
    given = DigitsInputs()(loaded.inputs.removeprefix("digits:"), loaded)
    assert given.inputs.shape == (10, 1, 8, 8)
    assert list(given.names) == [f"digits:{row}" for row in range(10)]
    assert given.labels is not None
    assert torch.equal(loaded.module(given.inputs).argmax(dim=1), given.labels)


def test_an_index_names_the_same_image_whatever_else_is_chosen() -> None:
    loaded = DigitsModel()("mlp")
    both, one = DigitsInputs()("0-9,20", loaded), DigitsInputs()("20", loaded)
    assert torch.equal(both.inputs[10], one.inputs[0])


def test_a_model_that_takes_flat_inputs_gets_flat_digits() -> None:
    flat = LoadedModel(module=nn.Linear(64, 10), classes=10, input_shape=(64,))
    assert DigitsInputs()("0-2", flat).inputs.shape == (3, 64)


def test_a_model_of_another_size_is_a_clear_error() -> None:
    large = LoadedModel(module=nn.Identity(), classes=10, input_shape=(3, 32, 32))
    with pytest.raises(DomainError, match=r"64 pixels.*\(3, 32, 32\)"):
        DigitsInputs()("0", large)


def test_an_unknown_model_names_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"'mpl'.*Did you mean 'mlp'.*mlp-gelu"):
        DigitsModel()("mpl")


@pytest.mark.parametrize(
    "text,complaint",
    [("500", "only 0 to 499"), ("9-3", "write 3-9"), ("a", "neither a number nor a range"), ("", "0-9,20"),
     ("0-600", "only 0 to 499"), ("-1", "neither"), ("1.5", "neither"), ("٣", "neither")],
)  # fmt: skip
def test_a_selection_that_names_nothing_is_a_clear_error(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        DigitsInputs()(text, DigitsModel()("linear"))
