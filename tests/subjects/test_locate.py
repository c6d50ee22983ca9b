"""Locating a mask: the operation, the submodule and the line, and silence where there is nothing to say."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from falsefloor.maskers.dtype import Dtype
from falsefloor.maskers.ramp import Ramp
from falsefloor.maskers.sigmoid import Sigmoid, SigmoidStaircase
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import BUILDERS, DigitsModel, load_split
from falsefloor.models.export import ExportModel
from falsefloor.subjects.compose import compose
from falsefloor.subjects.locate import Located, locate
from falsefloor.subjects.subject import ModelSubject


class Net(nn.Module):
    """Two layers with a function of the input before them."""

    def __init__(self, form: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.form = form
        self.hidden = nn.Linear(6, 8)
        self.head = nn.Linear(8, 3)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for part in (self.hidden, self.head):
                part.weight.copy_(torch.randn(part.weight.shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.tanh(0.2 * self.hidden(self.form(x))))
        return logits


def look(
    module: nn.Module, inputs: Tensor | None = None, *, classes: int = 3, seed: int = 0
) -> list[Located]:
    subject = ModelSubject(module, classes=classes)
    x = torch.full((6,), 0.43) + 0.01 * torch.arange(6) if inputs is None else inputs
    with torch.no_grad():
        label = int(subject(x[None]).argmax())
    generator = torch.Generator().manual_seed(0)
    return locate(subject, x, label, norm="linf", radius=0.05, generator=generator)


FORMS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "ceil": (lambda x: torch.ceil(x * 16) / 16, "ceil"),
    "round in place": (lambda x: (x * 16).round_() / 16, "round"),
    "floor division": (lambda x: (x // (1 / 16)) / 16, "floordiv"),
    "div with rounding_mode": (lambda x: torch.div(x, 1 / 16, rounding_mode="floor") / 16, "div"),
    "sign": (lambda x: torch.sign(x - 0.45), "sign"),
    "aten": (lambda x: torch.ops.aten.trunc.default(x * 16) / 16, "trunc"),
    "integer cast": (lambda x: (x * 16).to(torch.uint8).float() / 16, "cast to uint8"),
    "detach": (lambda x: x.detach() * 1, "detach"),
    "data": (lambda x: x.data * 1, "data"),
    "bucketize": (lambda x: torch.bucketize(x, torch.linspace(0, 1, 16)).float() / 16, "bucketize"),
    "numpy": (lambda x: torch.from_numpy(x.detach().numpy() * 1), "detach"),
    "saturation": (lambda x: torch.sigmoid(400 * (x - 0.2)), "sigmoid"),
    "cast to half": (lambda x: x.half().float(), "cast to float16"),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_operation_is_named(name: str) -> None:
    form, operation = FORMS[name]
    found = look(Net(form))
    assert found[0].operation == operation
    assert found[0].submodule == ""
    assert found[0].line.startswith("test_locate.py:")


def test_no_grad_is_named_as_the_cause() -> None:
    def form(x: Tensor) -> Tensor:
        with torch.no_grad():
            return x * 2

    first = look(Net(form))[0]
    assert first.operation.startswith("torch.no_grad")
    assert first.kind == "cut"


def test_integers_made_without_a_graph_are_followed_back_to_no_grad() -> None:
    def form(x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.bucketize(x, torch.linspace(0, 1, 17)).to(x.dtype) / 16

    first = look(Net(form))[0]
    assert (first.operation, first.certain) == ("torch.no_grad around bucketize", True)


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return torch.round(x * 16) / 16

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return torch.zeros_like(grads[0])


class _Honest(_Rounded):
    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0]


def test_a_custom_function_that_returns_zeros_is_named_and_not_what_it_does_inside() -> None:
    found = look(Net(lambda x: _Rounded.apply(x)))
    assert [(one.operation, one.kind, one.certain) for one in found] == [("_Rounded", "custom", True)]


def test_a_custom_function_that_passes_the_gradient_is_not_named() -> None:
    assert look(Net(lambda x: _Honest.apply(x))) == []


def test_a_straight_through_trick_in_the_model_is_not_blamed_with_certainty() -> None:
    found = look(Net(lambda x: x + (torch.round(x * 16) / 16 - x).detach()))
    assert [(one.operation, one.certain) for one in found] == [("detach", False)]


def test_a_value_that_leads_nowhere_is_not_blamed() -> None:
    def form(x: Tensor) -> Tensor:
        torch.round(x * 16).detach().mean()
        return x * 1

    assert look(Net(form)) == []


def test_dead_units_are_named_without_certainty() -> None:
    found = look(Net(lambda x: torch.relu(x - 2)))
    assert [(one.operation, one.certain) for one in found] == [("relu", False)]
    assert found[0].words.startswith("perhaps ")


def test_a_stochastic_model_is_looked_at_several_times_and_says_so() -> None:
    found = look(Net(lambda x: torch.ceil((x + 0.01 * torch.rand_like(x)) * 16) / 16))
    assert found[0].operation == "ceil"
    assert found[0].passes == 8
    assert "average of 8 passes" in found[0].words


def test_the_words_say_operation_place_share_and_displacement() -> None:
    x, _ = load_split(held_out=True)
    module = compose(DigitsModel()("mlp").module, [(Staircase(c=255), "input")])
    (found,) = look(module, x[0], classes=10)
    assert found.words == (
        "`input.0.quantise`: ceil, derivative zero; 100% of the gradient is lost between its output and its"
        " input; it moves its input by at most 0.0039"
    )


MASKS = [
    (Staircase(c=64), "quantise", {"ceil"}),
    (Staircase(c=64, mode="round"), "quantise", {"round"}),
    (Ramp(c=64, delta=0.2), "ramp", {"floor"}),
    (Ramp(c=64, delta=1e-7), "ramp", {"floor"}),
    (SigmoidStaircase(c=64, gain=400), "smooth_steps", {"floor", "sigmoid"}),
    (Sigmoid(gain=100), "saturate", {"sigmoid"}),
]


@pytest.mark.parametrize("place", ["input", "1", "2", "3", "logits", "model"])
@pytest.mark.parametrize("masker", range(len(MASKS)))
def test_every_mask_is_found_wherever_it_is_put(masker: int, place: str) -> None:
    mask, name, operations = MASKS[masker]
    x, _ = load_split(held_out=True)
    found = look(compose(DigitsModel()("mlp").module, [(mask, place)]), x[1], classes=10)
    where = (
        f"{place}.0.{name}"
        if place in ("input", "logits")
        else f"model.{place}.{name}".replace("model.model", "model")
    )
    assert found, "not located"
    assert found[0].submodule == where
    assert found[0].operation in operations


@pytest.mark.parametrize("place", ["input", "3", "model", "logits"])
@pytest.mark.parametrize("to", ["float16", "bfloat16"])
def test_casts_are_found_though_their_gradient_looks_healthy(to: str, place: str) -> None:
    x, _ = load_split(held_out=True)
    found = look(compose(DigitsModel()("mlp").module, [(Dtype(to=to), place)]), x[1], classes=10)
    ends = {"input": "input.0.cast", "logits": "logits.0.cast", "model": "model", "3": "model.3"}
    assert (found[0].operation, found[0].submodule) == (f"cast to {to}", ends[place])


@pytest.mark.parametrize("name", BUILDERS)
def test_nothing_is_located_in_an_unmasked_model(name: str) -> None:
    loaded = DigitsModel()(name)
    x, _ = load_split(held_out=True)
    for digit in range(3):
        assert [one for one in look(loaded.module, x[digit], classes=10) if one.certain] == []


def test_an_exported_model_is_located_by_its_operations(tmp_path: Path) -> None:
    program = torch.export.export(
        Net(FORMS["ceil"][0]).eval(),
        (torch.rand(16, 6),),
        dynamic_shapes={"x": {0: torch.export.Dim("batch", min=1, max=4096)}},
    )
    torch.export.save(program, tmp_path / "net.pt2")
    found = look(ExportModel()(str(tmp_path / "net.pt2")).module)
    assert (found[0].operation, found[0].kind) == ("ceil", "flat")


def test_a_models_own_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("import torch\n\ndef form(x):\n    return torch.round(x * 20) / 20\n")
    spec = importlib.util.spec_from_file_location("located_net", file)
    assert spec is not None and spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    assert look(Net(code.form))[0].line == "net.py:4"


def test_two_masks_are_both_found() -> None:
    x, _ = load_split(held_out=True)
    stack = [(Staircase(c=64), "input"), (Staircase(c=64), "3")]
    found = look(compose(DigitsModel()("mlp").module, stack), x[1], classes=10)
    assert {one.submodule for one in found} == {"input.0.quantise", "model.3.quantise"}
