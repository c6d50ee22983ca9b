from __future__ import annotations

import contextlib
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from falsefloor.errors import StudyError, UsageError
from falsefloor.study.file import read_study, study_from, write_study
from falsefloor.study.study import SETTINGS, EstimatorSpec, Layer, ModelSpec, StackSpec, Study

WHOLE = """
seed = 3
norms = ["linf", "l2"]
models = ["digits:mlp"]
inputs = "digits:0-9"
maskers = ["none", "staircase:c=255"]

[[estimators]]
use = "clever"
label = "paper"
batches = 500
samples = 1024

[[estimators]]
use = "attack"
"""


def write(path: Path, text: str) -> Path:
    file = path / "study.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    study = read_study(write(tmp_path, WHOLE))
    assert study.seed == 3
    assert study.norms == ("linf", "l2")
    assert study.maskers == (StackSpec(), StackSpec((Layer("staircase", "input", {"c": 255}),)))
    assert study.estimators == (
        EstimatorSpec("clever", {"batches": 500, "samples": 1024}, label="paper"),
        EstimatorSpec("attack"),
    )


COMMENTED = """# what we ran in May
seed = 3   # a lucky one
models = ["digits:mlp"]
maskers = [
  "none",  # the bare model
  "staircase:c=255",
]

# as published
[[estimators]]
use = "clever"
samples = 1024  # of 2018

[[estimators]]
use = "attack"
"""


def test_a_file_that_did_not_change_is_written_as_it_was(tmp_path: Path) -> None:
    assert write_study(read_study(write(tmp_path, COMMENTED)), over=COMMENTED) == COMMENTED


def test_a_changed_file_keeps_its_comments_and_layout(tmp_path: Path) -> None:
    study = read_study(write(tmp_path, COMMENTED))
    maskers = (*study.maskers, StackSpec.parse("ramp:c=16"))
    estimators = (study.estimators[0], EstimatorSpec("milp"), study.estimators[1])
    changed = replace(study, seed=4, tag="june", maskers=maskers, estimators=estimators)
    expected = COMMENTED.replace("seed = 3 ", "seed = 4 ")
    expected = expected.replace('=255",\n]\n', '=255",\n  "ramp:c=16",\n]\ntag = "june"\n')
    expected = expected.replace(
        '[[estimators]]\nuse = "attack"', '[[estimators]]\nuse = "milp"\n\n[[estimators]]\nuse = "attack"'
    )
    assert write_study(changed, over=COMMENTED) == expected


def test_one_field_of_a_study_is_its_key_its_flag_its_check_and_its_form() -> None:
    """One more setting is one more field: every surface reads the same table."""
    study = study_from({"models": ["d:m"], **{one.name: one.default for one in SETTINGS}})
    assert set(study.to_json()) == {one.name for one in fields(Study)}
    changed = {"int": 7, "float": 7.0, "bool": None, "str": "word", "numbers": "0,7"}
    for one in SETTINGS:
        value = (
            not one.default
            if one.kinds == ("bool",)
            else one.words[0]
            if one.words
            else changed[one.kinds[0]]
        )
        words = replace(study, **{one.name: value}).command()
        assert [word for word in words if one.name.replace("_", "-") in word], one.name
        with pytest.raises(UsageError, match=one.name) as caught:
            replace(study, **{one.name: object()})
        assert caught.value.key == one.name and one.help


def test_tables_give_models_their_domain_and_stacks_their_places(tmp_path: Path) -> None:
    text = """
[[models]]
use = "python:net.py:build"
label = "mine"
bounds = [0, 255]
mean = [120]
std = [60]

[[maskers]]
label = "both"
stack = [{use = "staircase", c = 16}, {use = "dtype", at = "logits", to = "float16"}]
"""
    study = read_study(write(tmp_path, text))
    assert study.models == (ModelSpec("python:net.py:build", "mine", (0.0, 255.0), (120.0,), (60.0,)),)
    assert [layer.at for layer in study.maskers[0].layers] == ["input", "logits"]


words = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=10)
scalars = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), words)
params = st.dictionaries(
    words.filter(lambda k: k not in ("use", "at", "label", "gradient")), scalars, max_size=3
)


@given(
    stacks=st.lists(st.tuples(words, params), min_size=1, max_size=3, unique_by=lambda s: s[0]),
    estimators=st.lists(st.tuples(words, params), min_size=1, max_size=3, unique_by=lambda s: s[0]),
    tag=words,
    seed=st.integers(0, 2**62),
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_study_survives_its_file(stacks: list, estimators: list, tag: str, seed: int) -> None:
    import tomllib

    study = Study(
        models=(ModelSpec("digits:mlp", bounds=(0.0, 1.0)),),
        maskers=tuple(StackSpec((Layer(f"m{n}", "input", p),), label) for n, (label, p) in enumerate(stacks)),
        estimators=tuple(EstimatorSpec(f"e{n}", p, label=label) for n, (label, p) in enumerate(estimators)),
        tag=tag,
        seed=seed,
    )
    assert study_from(tomllib.loads(write_study(study))) == study
    assert study_from(tomllib.loads(write_study(study, over=COMMENTED))) == study
    assert study_from(study.to_json()) == study


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('models = ["digits:mlp"]\nnorm = ["l2"]', 2, "no key 'norm' in a study. Did you mean 'norms'"),
        ('models = ["digits:mlp"]\n\nseed = "a"', 3, "seed='a' is not possible; expected an integer"),
        ('models = ["digits:mlp"]\nnorms = ["l3"]', 2, "no norm 'l3'"),
        (
            '[[models]]\nuse = "digits:mlp"\nbound = [0, 1]',
            3,
            "no key 'bound' in a model. Did you mean 'bounds'",
        ),
        ('[[models]]\nuse = "digits:mlp"\n\n[[models]]\nbounds = [0, 1]', 4, "a model needs use"),
        ('[[models]]\nuse = "d:m"\nbounds = [1, 0]', 3, "low then high"),
        ('models = ["d:m"]\nmaskers = ["staircase:c"]', 2, "not KEY=VALUE"),
        ('models = ["d:m"]\nmodels = ["d:m"]', 2, "not TOML"),
        ('models = ["d:m"]\nchunk = 0', 2, "at least 1"),
        ('models = ["d:m"]\nrecover = "maybe"', 2, "expected 'off', 'suspect' or 'on'"),
        ('models = ["d:m", "d:m"]', 1, "given twice"),
        ('tag = "a seed"\nseed = "a"\nmodels = ["d:m"]', 2, "seed"),
        ('[[models]]\nuse = "d:m"\nmean = ["a"]', 3, "numbers joined by commas"),
        ("seed = 1", None, "a study needs models"),
    ],
)
def test_a_wrong_file_is_told_where_and_what(tmp_path: Path, text: str, line: int | None, says: str) -> None:
    with pytest.raises(StudyError) as caught:
        read_study(write(tmp_path, text))
    assert says in str(caught.value)
    assert caught.value.line == line
    assert str(tmp_path) in str(caught.value)


@given(st.binary(max_size=200))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_study_or_a_study_error(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "any.toml"
    file.write_bytes(data)
    with contextlib.suppress(StudyError):
        read_study(file)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="No such file"):
        read_study(tmp_path / "gone.toml")


def test_the_command_that_does_the_same_can_be_copied() -> None:
    study = study_from({"models": ["digits:mlp"], "maskers": ["staircase:c=255+dtype:to=float16,at=logits"]})
    line = study.command_line()
    assert "--masker staircase:c=255+dtype:to=float16,at=logits" in line
    assert "--estimator attack" in line
