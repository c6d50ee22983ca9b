"""Exported programs: honest ones behave as the model did, layers included; hostile ones run nothing."""

from __future__ import annotations

import copy
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from falsefloor.engine.session import Session
from falsefloor.errors import DomainError, UsageError
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.export import ExportModel

BATCH = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
ROOT = "net"


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(72, 10)
    ).eval()


def export(module: nn.Module, file: Path, *, dynamic: bool = True, batch: Tensor = BATCH) -> str:
    shapes = ({0: torch.export.Dim("n")},) if dynamic else None
    torch.export.save(torch.export.export(module, (batch,), dynamic_shapes=shapes), str(file))
    return str(file)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> str:
    return export(network(), tmp_path_factory.mktemp("export") / f"{ROOT}.pt2")


def test_an_exported_model_answers_as_the_model_did_at_any_batch_size(honest: str) -> None:
    loaded = ExportModel()(honest)
    assert (loaded.classes, loaded.input_shape, loaded.files) == (10, (1, 8, 8), (honest,))
    assert not loaded.module.training
    for rows in (1, 2, 3):
        assert torch.equal(loaded.module(BATCH[:rows]), network()(BATCH[:rows]))


def test_an_exported_model_has_the_gradient_of_the_model(honest: str) -> None:
    gradients = []
    for module in (ExportModel()(honest).module, network()):
        x = BATCH.clone().requires_grad_()
        gradients.append(torch.autograd.grad(module(x)[:, 3].sum(), x)[0])
    assert torch.equal(*gradients)


def test_layers_keep_their_names_and_can_be_masked_in_a_copy(honest: str) -> None:
    module = ExportModel()(honest).module
    copied = copy.deepcopy(module)
    copied.add_module("2", Staircase(c=4)(copied.get_submodule("2")))
    reference = network()
    reference[2] = Staircase(c=4)(reference[2])
    assert torch.equal(copied(BATCH), reference(BATCH))
    assert torch.equal(module(BATCH), network()(BATCH))


def test_a_copy_can_change_its_precision(honest: str) -> None:
    assert copy.deepcopy(ExportModel()(honest).module).double()(BATCH.double()).dtype == torch.float64


def test_loading_leaves_the_environment_as_it_was(honest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "0"):
        monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
        if value is not None:
            monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", value)
        ExportModel()(honest)
        assert os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD") == value


class Named(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"pooled": x.mean((2, 3)), "logits": x.flatten(1)}


class Map(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(dim=(1, 2, 3)) - 32


@pytest.mark.parametrize(
    "module,dynamic,complaint",
    [
        (network(), False, "fixed batch of 3; the batch must be dynamic"),
        (network().train(), True, "training mode \\(aten::batch_norm is active\\)"),
        (Map(), True, "logits must be \\(batch, classes\\)"),
    ],
)
def test_a_program_of_another_form_says_how_to_export_it(
    tmp_path: Path, module: nn.Module, dynamic: bool, complaint: str
) -> None:
    file = export(copy.deepcopy(module), tmp_path / "other.pt2", dynamic=dynamic)
    with pytest.raises(DomainError, match=rf"{complaint}.*torch\.export\.export\(model\.eval\(\)"):
        ExportModel()(file)


def test_one_of_several_outputs_is_chosen_by_name_or_the_refusal_lists_them(tmp_path: Path) -> None:
    made = Named()
    file = export(made, tmp_path / "several.pt2")
    np.savez(tmp_path / "batch.npz", x=BATCH.numpy())
    model, inputs = {"use": f"export:{file}"}, f"npz:{tmp_path}/batch.npz"
    with pytest.raises(DomainError, match="Choose the logits: output='logits' in Python, --output logits"):
        Session().prepared(model, inputs)
    found = Session().prepared({**model, "output": "logits"}, inputs)
    assert found.facts["predicted"] == made(BATCH)["logits"].argmax(1).tolist()


def test_one_logit_is_two_classes(tmp_path: Path) -> None:
    file = export(Flat(), tmp_path / "flat.pt2")
    np.savez(tmp_path / "batch.npz", x=BATCH.numpy())
    found = Session().prepared({"use": f"export:{file}"}, f"npz:{tmp_path}/batch.npz")
    assert found.facts["predicted"] == (Flat()(BATCH) > 0).long().tolist()


def test_shapes_that_are_computed_are_allowed(tmp_path: Path) -> None:
    class Reshaped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(x.shape[0] * 4, 16).reshape(x.shape[0], -1)

    loaded = ExportModel()(export(Reshaped(), tmp_path / "shapes.pt2"))
    assert torch.equal(loaded.module(BATCH), BATCH.flatten(1))


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.mark, "run")


def rewrite(honest: str, out: Path, *, model: Callable[[Any], None] | None = None, **added: bytes) -> str:
    with zipfile.ZipFile(honest) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == f"{ROOT}/models/model.json" and model is not None:
                description = json.loads(content)
                model(description)
                content = json.dumps(description).encode()
            target.writestr(name, added.pop(name.rpartition("/")[2], content))
        for name, content in added.items():
            target.writestr(f"{ROOT}/data/constants/{name}", content)
    return str(out)


def payload(name: str) -> bytes:
    entry = {"path_name": name, "is_param": False, "use_pickle": True, "tensor_meta": None}
    return json.dumps({"config": {"evil": entry}}).encode()


def everywhere(value: Any, key: str, new: str) -> None:
    if isinstance(value, dict):
        if key in value:
            value[key] = new
        for each in value.values():
            everywhere(each, key, new)
    elif isinstance(value, list):
        for each in value:
            everywhere(each, key, new)


@pytest.mark.parametrize("prefix", ["opaque_obj_", "custom_obj_", "tensor_"])
def test_a_pickle_that_runs_code_is_refused_and_not_run(honest: str, tmp_path: Path, prefix: str) -> None:
    mark = tmp_path / "mark"
    pickled = pickle.dumps(Bomb(mark))
    pickle.loads(pickled)
    assert mark.exists()  # it does run where it is unpickled
    mark.unlink()
    added = {"model_constants_config.json": payload(f"{prefix}0"), f"{prefix}0": pickled}
    with pytest.raises(UsageError, match="refused"):
        ExportModel()(rewrite(honest, tmp_path / "evil.pt2", **added))
    assert not mark.exists()


def test_a_shape_that_runs_code_is_refused_and_not_run(honest: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"__import__('pathlib').Path({str(mark)!r}).write_text('run')"
    for expression in (code, f"Max(1, {code!r})", "().__class__", "Symbol('s0').name", "lambda: 0"):
        file = rewrite(
            honest, tmp_path / "evil.pt2", model=lambda each, e=expression: everywhere(each, "expr_str", e)
        )
        with pytest.raises(UsageError, match="computes a shape by"):
            ExportModel()(file)
    assert not mark.exists()


def test_stored_guards_are_not_run(honest: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"__import__('pathlib').Path({str(mark)!r}).write_text('run')"
    file = rewrite(honest, tmp_path / "evil.pt2", model=lambda each: each.update(guards_code=[code]))
    ExportModel()(file).module(BATCH)
    assert not mark.exists()


@pytest.mark.parametrize(
    "target", ["torch.os.system", "torch.ops.load_library", "torch.ops.aten.from_file.default", "#lib:x",
               "torch.hub.load", "_operator.methodcaller", "os.system", "torch.ops.aten.__class__.a.b"]
)  # fmt: skip
def test_an_operator_that_is_none_is_refused(honest: str, tmp_path: Path, target: str) -> None:
    file = rewrite(honest, tmp_path / "evil.pt2", model=lambda each: everywhere(each, "target", target))
    with pytest.raises(UsageError, match=f"calls '{target}'"):
        ExportModel()(file)


def test_a_structure_that_names_types_to_import_is_refused(honest: str, tmp_path: Path) -> None:
    for tree in (
        '[1, {"type": "builtins.dict", "context": "[{\\"__enum__\\": true}]", "children_spec": []}]',
        '[1, {"type": "collections.defaultdict", "context": "[]", "children_spec": []}]',
        "no json",
    ):
        file = rewrite(
            honest, tmp_path / "evil.pt2", model=lambda each, t=tree: everywhere(each, "in_spec", t)
        )
        with pytest.raises(UsageError, match="foreign types"):
            ExportModel()(file)


def test_a_compiled_library_in_the_archive_is_refused(honest: str, tmp_path: Path) -> None:
    file = tmp_path / "evil.pt2"
    file.write_bytes(Path(honest).read_bytes())
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(f"{ROOT}/data/aotinductor/model/model.so", b"\x7fELF")
    with pytest.raises(UsageError, match=r"contains 'net/data/aotinductor/model/model\.so'"):
        ExportModel()(str(file))


def test_a_table_of_contents_with_two_readings_is_refused(honest: str, tmp_path: Path) -> None:
    file = tmp_path / "evil.pt2"
    file.write_bytes(Path(honest).read_bytes())
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(f"{ROOT}/models/MODEL.json", b"{}")
    with pytest.raises(UsageError, match="read in two ways"):
        ExportModel()(str(file))


def test_files_that_are_no_exports_are_refused(honest: str, tmp_path: Path) -> None:
    whole = Path(honest).read_bytes()
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    contents = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"hello",
        "weights": (tmp_path / "weights.pt").read_bytes(),
    }
    for name, content in contents.items():
        file = tmp_path / f"{name}.pt2"
        file.write_bytes(content)
        with pytest.raises(UsageError, match=rf"{name}\.pt2 is no exported program"):
            ExportModel()(str(file))
