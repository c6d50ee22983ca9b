"""ONNX models (`onnx:FILE`), through a converter to torch; needs the extra `onnx`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from falsefloor.api import LoadedModel
from falsefloor.errors import DomainError, UsageError
from falsefloor.models.refs import existing_file, needs, refusal


@dataclass(frozen=True)
class OnnxModel:
    """`onnx:FILE.onnx`: one input, a batch whose first size is open. Raises `UsageError`, `DomainError`."""

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, /) -> LoadedModel:
        path = existing_file(ref, kind="ONNX model", form="onnx:FILE.onnx")
        try:
            import onnx
            import onnx2torch
        except ModuleNotFoundError as error:
            other = ", or convert the model in a Python file: python:FILE.py:build"
            raise needs("onnx", str(error.name), "onnx", other) from error
        except Exception as error:  # one of their own needs does not fit this torch
            raise UsageError(f"onnx: the converter cannot be imported here: {_first(error)}.") from error
        try:
            program = onnx.load(str(path))
            onnx.checker.check_model(program)
        except Exception as error:  # protobuf and onnx raise whatever they happen to raise
            raise refusal(
                f"{path} cannot be read as an ONNX model ({type(error).__name__}: {_first(error)}). Export it"
                " again, torch.onnx.export(model, (batch,), FILE).",
                ref,
            ) from error
        own = {each.name for each in program.graph.initializer}
        inputs = [each for each in program.graph.input if each.name not in own]
        if len(inputs) != 1:
            names = ", ".join(each.name for each in inputs)
            raise DomainError(
                f"{path} takes {len(inputs)} inputs ({names}); a model must take one tensor, the batch."
            )
        sizes = [_size(each) for each in inputs[0].type.tensor_type.shape.dim]
        try:
            module: nn.Module = onnx2torch.convert(program)
        except Exception as error:
            raise UsageError(
                f"onnx2torch cannot convert {path}: {_first(error)}. Build the model in a Python file of"
                " your own and name it python:FILE.py:build, or export it by torch.export: export:FILE.pt2."
            ) from error
        shape = tuple(size for size in sizes[1:] if size)
        return LoadedModel(
            module=module.eval(),
            classes=0,
            input_shape=shape if len(shape) == len(sizes) - 1 else (),
            files=(str(path.resolve()),),
        )


def _size(dimension: Any) -> int:
    """0 where it is open."""
    return int(dimension.dim_value) if dimension.HasField("dim_value") else 0


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or "no reason given"
