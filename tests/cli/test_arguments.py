"""Flags, files and wrong words: one study, or one clear message."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Command

from falsefloor.cli.app import _hoisted
from falsefloor.cli.studies import build_study
from falsefloor.errors import StudyError, UsageError
from falsefloor.study.study import Study

FILE = """
seed = 7
norms = ["l2"]
models = ["digits:mlp"]
inputs = "digits:0-9"

[[estimators]]
use = "clever"
label = "paper"
samples = 1024
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_flags_alone_make_a_study() -> None:
    study = build_study(None, models=["digits:mlp"], maskers=["none", "staircase:c=16"], norms=["l2"], seed=3)
    assert [stack.name for stack in study.maskers] == ["none", "staircase:c=16"]
    assert study.maskers[0].layers == () and study.seed == 3 and study.norms == ("l2",)


def test_a_flag_replaces_its_key_of_the_file_and_no_other(file: Path) -> None:
    study = build_study(file, norms=["linf"], seed=None)
    assert (study.seed, study.norms, study.inputs) == (7, ("linf",), "digits:0-9")
    assert [e.name for e in study.estimators] == ["paper"]


def test_a_domain_applies_to_every_model() -> None:
    study = build_study(None, models=["digits:mlp", "digits:cnn"], bounds="-1,1", mean="0.5")
    assert [(m.bounds, m.mean) for m in study.models] == [((-1.0, 1.0), (0.5,))] * 2


def test_the_command_of_a_study_gives_the_same_study_again(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = build_study(
        None,
        models=["digits:mlp"],
        maskers=["none", "ramp:c=255,delta=0.2+dtype:to=float16,at=logits"],
        estimators=["clever:radius=0.3,gradient=secant", "attack"],
        norms=["l1", "linf"],
        bounds="0,2",
        mean="0.5",
        inputs="digits:0-3",
        seed=5,
        chunk=4,
        trap=True,
        ceiling=False,
        tag="x y",
        device="cpu",
        recover="on",
        time_limit=60.0,
    )
    started: list[Study] = []

    def start(_: object, study: Study, **__: object) -> None:
        started.append(study)
        raise UsageError("only asked")

    monkeypatch.setattr("falsefloor.cli.run.begin", start)
    program, *words = asked.command()
    assert program == "falsefloor" and command(*words).err == "error: only asked\n"
    assert started == [asked]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "--model"),
        ({"models": ["digits:mlp"], "norms": ["l3"]}, "l3"),
        ({"models": ["digits:mlp"], "bounds": "0"}, "bounds"),
        ({"models": ["digits:mlp"], "bounds": "0,x"}, "--bounds"),
        ({"models": ["digits:mlp"], "bounds": "1,0"}, "bounds"),
        ({"models": ["digits:mlp"], "maskers": ["staircase:c"]}, "staircase:c"),
        ({"models": ["digits:mlp"], "maskers": ["none", "none"]}, "twice"),
        ({"models": ["digits:mlp"], "seed": -1}, "seed"),
        ({"models": ["digits:mlp"], "chunk": 0}, "chunk"),
        ({"models": ["digits:mlp"], "recover": "maybe"}, "recover"),
    ],
)
def test_what_cannot_be_is_said_by_its_name(given: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        build_study(None, **given)  # type: ignore[arg-type]


def test_a_wrong_key_names_file_line_and_nearest_key(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('models = ["digits:mlp"]\nsed = 3\n', encoding="utf-8")
    with pytest.raises(StudyError, match=r"study\.toml:2: .*'sed'.*'seed'"):
        build_study(path)


def test_a_model_in_the_place_of_a_file_is_recognised() -> None:
    with pytest.raises(UsageError, match="--model digits:mlp"):
        build_study(Path("digits:mlp"))


def test_a_missing_file_lists_those_that_are_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    with pytest.raises(UsageError, match=r"study\.toml"):
        build_study(Path("stduy.toml"))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["show", "--store", "d", "last"], ["--store", "d", "show", "last"]),
        (["show", "--store=d", "last"], ["--store=d", "show", "last"]),
        (["plugins", "list", "--no-plugins"], ["--no-plugins", "plugins", "list"]),
        (["show", "--", "--store"], ["show", "--", "--store"]),
        (["--store", "d", "runs"], ["--store", "d", "runs"]),
    ],
)
def test_global_options_may_stand_behind_the_command(written: list[str], meant: list[str]) -> None:
    assert _hoisted(written) == meant
