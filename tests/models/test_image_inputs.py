"""Pictures from folders: order, labels, fitting and range, and what is said where they do not fit."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from falsefloor.api import LoadedModel
from falsefloor.errors import UsageError
from falsefloor.models.images import ImagesInputs

pil = pytest.importorskip("PIL.Image")


def model(*shape: int, classes: int = 2, white: float = 1.0) -> LoadedModel:
    return LoadedModel(module=nn.Identity(), classes=classes, input_shape=shape, bounds=(0.0, white))


def picture(
    path: Path, *, height: int = 4, width: int = 4, grey: int | None = None, seed: int = 0
) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    if grey is not None:
        pixels[:] = grey
    pil.fromarray(pixels).save(path)
    return pixels


def test_pictures_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    second, first = picture(tmp_path / "b.png", seed=1), picture(tmp_path / "a.png", seed=2)
    (tmp_path / "notes.txt").write_text("no picture")
    given = ImagesInputs()(str(tmp_path), model(3, 4, 4))
    expected = np.stack([first, second]).transpose(0, 3, 1, 2).astype(np.float32) / 255
    assert torch.equal(given.inputs, torch.from_numpy(expected))
    assert list(given.names) == ["a.png", "b.png"]
    assert given.labels is None


def test_pixels_follow_the_models_bounds(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png")
    given = ImagesInputs()(str(tmp_path), model(3, 4, 4, white=255.0))
    torch.testing.assert_close(
        given.inputs[0].permute(1, 2, 0), torch.from_numpy(pixels).float(), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 4)])
def test_a_model_of_one_channel_gets_grey_pictures(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture(tmp_path / "a.png", grey=51)
    given = ImagesInputs()(str(tmp_path), model(*shape))
    assert torch.equal(given.inputs, torch.full((1, *shape), 0.2))


def test_pictures_are_fitted_as_declared_and_cropped_in_the_middle(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png", height=8, width=14)
    given = ImagesInputs()(f"{tmp_path}:crop=4", model(3, 4, 4))
    expected = torch.from_numpy(pixels[2:6, 5:9].astype(np.float32) / 255)
    assert torch.equal(given.inputs[0].permute(1, 2, 0), expected)
    assert ImagesInputs()(f"{tmp_path}:resize=4,crop=4", model(3, 4, 4)).inputs.shape == (1, 3, 4, 4)
    assert ImagesInputs()(f"{tmp_path}:resize=4", model()).inputs.shape == (1, 3, 4, 7)


def test_a_selection_keeps_names_and_labels_together(tmp_path: Path) -> None:
    for index in range(4):
        picture(tmp_path / str(index % 2) / f"{index}.png", seed=index)
    given = ImagesInputs()(f"{tmp_path}:1,3", model(3, 4, 4))
    assert list(given.names) == [str(Path("0/2.png")), str(Path("1/3.png"))]
    assert given.labels is not None
    assert given.labels.tolist() == [0, 1]


def test_folders_with_words_are_classes_in_their_order(tmp_path: Path) -> None:
    picture(tmp_path / "dog" / "a.png")
    picture(tmp_path / "cat" / "b.png")
    given = ImagesInputs()(str(tmp_path), model(3, 4, 4))
    assert given.labels is not None
    assert dict(zip(given.names, given.labels.tolist(), strict=True)) == {
        str(Path("cat/b.png")): 0,
        str(Path("dog/a.png")): 1,
    }


def test_a_label_file_comes_before_folders(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "b.png")
    (tmp_path / "labels.csv").write_text("file,label\n\ncat/b.png,1\n", encoding="utf-8")
    given = ImagesInputs()(str(tmp_path), model(3, 4, 4))
    assert given.labels is not None
    assert given.labels.tolist() == [1]


@pytest.mark.parametrize(
    "options,labels,complaint",
    [
        ("", None, r"4×4 pixels, the model takes 8×8.*resize=8,crop=8"),
        (":resise=8", None, "no option 'resise'. Did you mean 'resize'"),
        (":resize=-8", None, "resize=-8 is no number of pixels"),
        (":resize=8,crop=9", None, "too small for crop=9"),
        (":resize=8:7", None, "only 0 to 0"),
        (":resize=8,labels=truth.csv", None, "no label file 'truth.csv'"),
        (":resize=8", "other.png,1", "no label for a.png"),
        (":resize=8", "a.png,1\na.png,x", "line 2: expected a path and a class number"),
        (":resize=8", "a.png,2", "labels reach 2, but the model's classes are 0 to 1"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, options: str, labels: str | None, complaint: str) -> None:
    picture(tmp_path / "a.png")
    if labels is not None:
        (tmp_path / "labels.csv").write_text(labels, encoding="utf-8")
    with pytest.raises(UsageError, match=complaint):
        ImagesInputs()(f"{tmp_path}{options}", model(3, 8, 8))


def test_three_class_folders_do_not_stand_for_a_thousand_classes(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / name / "x.png")
    with pytest.raises(UsageError, match="3 class folders, the model 1000 classes"):
        ImagesInputs()(str(tmp_path), model(3, 4, 4, classes=1000))


def test_pictures_of_several_sizes_need_a_declared_one(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", height=5)
    with pytest.raises(UsageError, match="different sizes"):
        ImagesInputs()(str(tmp_path), model())


def test_folders_without_pictures_or_with_mixed_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no pictures"):
        ImagesInputs()(str(tmp_path), model(3, 4, 4))
    picture(tmp_path / "a.png")
    picture(tmp_path / "cat" / "b.png")
    with pytest.raises(UsageError, match="both in itself and in class folders"):
        ImagesInputs()(str(tmp_path), model(3, 4, 4))
    with pytest.raises(UsageError, match="no folder 'nowhere'"):
        ImagesInputs()("nowhere", model(3, 4, 4))


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", height=64, width=64)
    whole = (tmp_path / "a.png").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(UsageError, match=r"a\.png cannot be read as a picture"):
            ImagesInputs()(str(tmp_path), model(3, 64, 64))


def test_a_huge_picture_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "a.png", height=30, width=30)
    for limit in (600, 100):  # pillow warns above its limit, and raises above twice that
        monkeypatch.setattr(pil, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(UsageError, match="too large to be opened safely"):
            ImagesInputs()(str(tmp_path), model(3, 30, 30))


def test_bounds_that_are_no_pixels_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"bounds are \(0.0, 2.6\)"):
        ImagesInputs()(str(tmp_path), model(3, 4, 4, white=2.6))


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError, match=r"falsefloor\[images\]"):
        ImagesInputs()(str(tmp_path), model(3, 4, 4))
