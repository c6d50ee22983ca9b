"""Tables, state dictionaries, data sets, checkpoints: what a file says is read, all else refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from falsefloor.api import LoadedModel
from falsefloor.errors import UsageError
from falsefloor.models.datasets import PythonInputs
from falsefloor.models.huggingface import HuggingFaceModel
from falsefloor.models.onnx import OnnxModel
from falsefloor.models.python import PythonModel
from falsefloor.models.tables import ParquetInputs, TableInputs

MODEL = LoadedModel(nn.Linear(2, 3), 3, (2,), bounds=(0.0, 10.0))
TABLE = "age,income,label\n1,2.5,0\n3,4,2\n5,6,1\n"
NET = """from torch import nn
def build():
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
"""


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize(
    "text,options",
    [
        (TABLE, ""),
        (TABLE.replace(",", ";").replace("label", "Kind"), ":label=Kind"),
        (TABLE.replace(",", "\t"), ":label=label"),
        ("\ufeffid,age,income,y\n7,1,2.5,0\n8,3,4,2\n9,5,6,1\n", ":label=y,columns=age;income"),
        (TABLE.replace(",0\n", ",a\n").replace(",1\n", ",b\n").replace(",2\n", ",c\n"), ":label=label"),
    ],
)
def test_a_table_is_a_batch_of_its_columns(tmp_path: Path, text: str, options: str) -> None:
    given = TableInputs()(written(tmp_path, "t.csv", text) + options, MODEL)
    assert given.inputs.tolist() == [[1, 2.5], [3, 4], [5, 6]]
    assert given.labels is not None and given.labels.tolist() == [0, 2, 1]


def test_rows_of_a_table_are_chosen(tmp_path: Path) -> None:
    given = TableInputs()(written(tmp_path, "t.csv", TABLE) + ":label=label:1-2", MODEL)
    assert (given.inputs.tolist(), list(given.names)) == ([[3, 4], [5, 6]], ["t.csv:1", "t.csv:2"])


@pytest.mark.parametrize(
    "text,options,said",
    [
        (TABLE, ":label=labels", "no column 'labels'. Did you mean 'label'"),
        (TABLE, ":lable=label", "no option 'lable'"),
        (TABLE.replace("4", "four"), "", "'four' is no number"),
        (TABLE + "1,2\n", "", "row 5: 2 cells"),
        ("1,2,3\n4,5,6\n", "", "expected the columns' names"),
        ("", "", "0 rows"),
        (TABLE, ":columns=age", "the model takes 2"),
        ("\x00\x01", "", "rows|table"),
    ],
)
def test_a_table_that_says_too_little_is_refused(tmp_path: Path, text: str, options: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TableInputs()(written(tmp_path, "t.csv", text) + options, MODEL)


def test_parquet_is_a_table_or_names_what_is_missing(tmp_path: Path) -> None:
    try:
        from pyarrow import parquet, table
    except ModuleNotFoundError:
        with pytest.raises(UsageError, match=r"'pyarrow'.*falsefloor\[tables\]"):
            ParquetInputs()(written(tmp_path, "t.parquet", "PAR1"), MODEL)
        return
    parquet.write_table(table({"age": [1, 3], "income": [2.5, 4.0], "label": [0, 2]}), tmp_path / "t.parquet")
    given = ParquetInputs()(f"{tmp_path}/t.parquet", MODEL)
    assert given.inputs.tolist() == [[1, 2.5], [3, 4]]
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        ParquetInputs()(written(tmp_path, "u.parquet", "PAR1"), MODEL)


def state(model: nn.Module) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("form", ["safetensors", "plain", "trained", "parallel"])
def test_weights_are_loaded_into_what_a_factory_makes(tmp_path: Path, form: str) -> None:
    ref = f"{written(tmp_path, 'net.py', NET)}:build:weights={tmp_path}/w"
    torch.manual_seed(4)
    twin = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    if form == "safetensors":
        save_file(state(twin), f"{tmp_path}/w.safetensors")
        ref += ".safetensors"
    elif form == "plain":
        torch.save(state(twin), tmp_path / "w")
    elif form == "trained":
        torch.save({"epoch": 3, "state_dict": state(twin)}, tmp_path / "w")
    else:
        torch.save({f"module.{name}": t for name, t in state(twin).items()}, tmp_path / "w")
    loaded = PythonModel()(ref)
    assert all(torch.equal(a, b) for a, b in zip(loaded.module.parameters(), twin.parameters(), strict=True))
    assert str(tmp_path / "w") in str(loaded.files)


@pytest.mark.parametrize(
    "made,said",
    [
        (lambda path: torch.save({"0.weight": torch.zeros(4, 2)}, path), "lacks 0.bias, 2.bias, 2.weight"),
        (lambda path: torch.save(nn.Linear(2, 4), path), "cannot be read as weights alone"),
        (lambda path: torch.save([1, 2], path), "holds list, not tensors by name"),
        (lambda path: path.write_bytes(b"PK\x03\x04half"), "cannot be read as weights alone.*truncated"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path, made: Any, said: str) -> None:
    made(tmp_path / "w.pt")
    with pytest.raises(UsageError, match=said):
        PythonModel()(f"{written(tmp_path, 'net.py', NET)}:build:weights={tmp_path}/w.pt")
    with pytest.raises(UsageError, match="no option 'weight'"):
        PythonModel()(f"{tmp_path}/net.py:build:weight={tmp_path}/w.pt")


DATA = """
import torch
class Pictures:
    def __len__(self):
        return 5
    def __getitem__(self, row):
        return torch.full((1, 2, 2), row / 5), row % 3
def build():
    return Pictures()
arrays = (torch.arange(8.0).reshape(4, 2), [0, 1, 2, 0])
mixed = [(torch.zeros(2), 0), (torch.zeros(3), 1)]
words = ["a", "b"]
nothing = 3
"""


def test_a_data_set_and_arrays_of_python_code_are_inputs(tmp_path: Path) -> None:
    place = written(tmp_path, "data.py", DATA)
    given = PythonInputs()(f"{place}:build:1-3", MODEL)
    assert given.inputs[:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.4, 0.6])
    assert given.labels is not None and given.labels.tolist() == [1, 2, 0]
    assert PythonInputs()(f"{place}:arrays:0,3", MODEL).inputs.tolist() == [[0, 1], [6, 7]]
    for name, said in {"mixed": "different shapes", "words": "holds str", "nothing": "gives int"}.items():
        with pytest.raises(UsageError, match=said):
            PythonInputs()(f"{place}:{name}", MODEL)


def test_checkpoints_and_onnx_are_looked_for_here_and_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no checkpoint.*not downloaded"):
        HuggingFaceModel()("google/vit-base-patch16-224")
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    with pytest.raises(UsageError, match=r"LlamaForCausalLM.*ForSequenceClassification"):
        HuggingFaceModel()(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read as JSON"):
        HuggingFaceModel()(str(tmp_path))
    with pytest.raises(UsageError, match=r"falsefloor\[onnx\]|as an ONNX model|cannot be imported"):
        OnnxModel()(written(tmp_path, "net.onnx", "no model"))


@pytest.mark.parametrize("kind,white", [(np.uint16, 65535), (np.float32, 1)])
def test_pictures_of_more_than_8_bits_are_scaled_by_their_range(
    tmp_path: Path, kind: Any, white: int
) -> None:
    image = pytest.importorskip("PIL.Image")
    from falsefloor.models.images import ImagesInputs

    values = (np.linspace(0, 1, 16).reshape(4, 4) * white).astype(kind)
    image.fromarray(values).save(tmp_path / "deep.tiff")
    given = ImagesInputs()(str(tmp_path), LoadedModel(nn.Identity(), 0, (1, 4, 4))).inputs
    assert given[0, 0].flatten().tolist() == pytest.approx(np.linspace(0, 1, 16).tolist(), abs=2e-5)
    image.fromarray((values * 3).astype(np.float32)).save(tmp_path / "deep.tiff")
    with pytest.raises(UsageError, match=r"fractions from 0 to .*npz"):
        ImagesInputs()(str(tmp_path), LoadedModel(nn.Identity(), 0, (1, 4, 4)))
