"""A hundred and more slips of the hand: each message names the cure, and none is stored as a run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Command
from sample_run import sample

RUN = "run --model digits:mlp --inputs digits:0 "
FILES = {
    "net.py": "import torch\n\n\ndef build():\n    print('built')\n    return torch.nn.Linear(64, 10)\n",
    "broken.py": "def build():\n    print('before')\n    raise RuntimeError('weights.pt is missing')\n",
    "study.toml": 'models = ["digits:mlp"]\ninputs = "digits:0"\n',
    "key.toml": 'model = "digits:mlp"\n',
    "norm.toml": 'models = ["digits:mlp"]\nnorm = "l2"\n',
    "norms.toml": 'models = ["digits:mlp"]\nnorms = ["Linf"]\n',
    "list.toml": 'models = "digits:mlp"\n',
    "table.toml": 'models = ["digits:mlp"]\n[[estimator]]\nuse = "clever"\n',
    "use.toml": 'models = ["digits:mlp"]\n[[estimators]]\nname = "clever"\n',
    "syntax.toml": "models = [digits:mlp]\n",
    "value.toml": 'models = ["digits:mlp"]\n[[estimators]]\nuse = "clever"\nsamples = "many"\n',
    "stack.toml": 'models = ["digits:mlp"]\n[[maskers]]\nstack = [{ use = "stiarcase" }]\n',
    "label.toml": 'models = ["digits:mlp"]\n[[estimators]]\nuse = "clever"\n[[estimators]]\nuse = "clever"\n',
    "deep.toml": 'models = ["digits:mlp"]\n[[models]]\nuse = "digits:cnn"\n',
    "empty.toml": "",
}
SLIPS = (
    # what is to be judged
    ("run", "--model"),
    ("run digits:mlp", "--model digits:mlp"),
    ("run net.py", "python:net.py:build"),
    ("run batch.npz", "--inputs npz:batch.npz"),
    ("run studdy.toml", "'study.toml'"),
    ("run study", "'study.toml'"),
    ("run --model", "requires an argument"),
    ("run --models digits:mlp", "--model"),
    ("run --model net.py:build", "python:net.py:build"),
    ("run --model net.py", "python:net.py:build"),
    ("run --model nte.py:build", "python:nte.py:build"),
    ("run --model models/net.py:build", "python:models/net.py:build"),
    ("run --model mlp", "digits:mlp"),
    ("run --model MLP", "digits:mlp"),
    ("run --model digits", "digits:mlp"),
    ("run --model digits:mpl", "'mlp'"),
    ("run --model digit:mlp", "'digits'"),
    ("run --model Digits:mlp", "'digits'"),
    ("run --model python:nte.py:build", "'net.py'"),
    ("run --model python:net.py:bild --inputs digits:0", "'build'"),
    ("run --model python:net:build", "python:net.py:build"),
    ("run --model python:broken.py:build --inputs digits:0", "weights.pt is missing"),
    ("run --model export:nte.pt2", "No .pt2 file is there"),
    ("run --model nte.pt2", "export:nte.pt2"),
    ("run --model state.pt", "build:weights=state.pt"),
    ("run --model nosuch.pt", "build:weights=nosuch.pt"),
    ("run --model net.py::build", "python:net.py:build"),
    ("run --model resnet18", "python:FILE.py:build"),
    ("run --model torchvision:resnet18", "python:FILE.py:build"),
    ("run --model digits:mlp --model digits:mpl", "'mlp'"),
    # at which inputs
    ("run --model digits:mlp --inputs batch.npz", "npz:batch.npz"),
    ("run --model digits:mlp --inputs btach.npz", "npz:btach.npz"),
    ("run --model digits:mlp --inputs npz:btach.npz", "'batch.npz'"),
    ("run --model digits:mlp --inputs npy:batch.npz", "'npz'"),
    ("run --model digits:mlp --inputs digits:9-0", "write 0-9"),
    ("run --model digits:mlp --inputs digits:0..9", "0-9"),
    ("run --model digits:mlp --inputs digits:99999", "only 0 to 499"),
    ("run --model digits:mlp --inputs digits", "digits:0-9"),
    ("run --model digits:mlp --inputs 0-9", "digits:0-9"),
    ("run --model digits:mlp --inputs images", "images:FOLDER"),
    ("run --model digits:mlp --inputs images:nofolder", "images:FOLDER"),
    ("run --model digits:mlp --inputs digit:0-9", "'digits'"),
    ("run --model digits:mlp --input digits:0", "--inputs"),
    # norms
    (RUN + "--norm L2", "'l2'"),
    (RUN + "--norm 2", "'l2'"),
    (RUN + "--norm l_2", "'l2'"),
    (RUN + "--norm inf", "'linf'"),
    (RUN + "--norm Linf", "'linf'"),
    (RUN + "--norm l3", "l1, l2, linf"),
    (RUN + "--norm linf,l2", "--norm linf --norm l2"),
    # maskers
    (RUN + "--masker stircase", "'staircase'"),
    (RUN + "--masker Staircase", "'staircase'"),
    (RUN + "--masker quantise", "'staircase'"),
    (RUN + "--masker float16", "'dtype'"),
    (RUN + "--masker staircase=255", "staircase:KEY=VALUE"),
    (RUN + "--masker staircase:255", "plugins show staircase"),
    (RUN + "--masker staircase:", "plugins show staircase"),
    (RUN + "--masker staircase:levels=255", "'c'"),
    (RUN + "--masker staircase:c=abc", "above 0"),
    (RUN + "--masker staircase:c=0", "above 0"),
    (RUN + "--masker staircase:c=255,c=16", "joined by +"),
    (RUN + "--masker staircase:c=255;at=logits", "separated by commas"),
    (RUN + "--masker ramp:delta=2", "at most 1"),
    (RUN + "--masker dtype:to=float12", "'float16'"),
    (RUN + "--masker dtype:float16", "plugins show dtype"),
    (RUN + "--masker staircase:c=255,at=logit", "'logits'"),
    (RUN + "--masker staircase:at=layer7", "0, 1, 2, 3, 4, 5, input, logits, model"),
    (RUN + "--masker staircase,ramp", "staircase+ramp"),
    (RUN + "--masker none --masker none", "twice"),
    (RUN + "--masker staircase(c=255)", "staircase:c=255"),
    (RUN + "--mask none", "--masker"),
    # estimators
    (RUN + "--estimator clevr", "'clever'"),
    (RUN + "--estimator CLEVER", "'clever'"),
    (RUN + "--estimator clever_u", "'clever'"),
    (RUN + "--estimator finite_difference", "'finite-difference'"),
    (RUN + "--estimator fd", "'finite-difference'"),
    (RUN + "--estimator pgd", "'attack'"),
    (RUN + "--estimator clever:radious=0.3", "'radius'"),
    (RUN + "--estimator clever:eps=0.3", "'radius'"),
    (RUN + "--estimator clever:nb_batches=5", "'batches'"),
    (RUN + "--estimator clever:radius=-1", "above 0"),
    (RUN + "--estimator clever:samples=many", "an integer at least 1"),
    (RUN + "--estimator clever:gradient=strait-through", "'straight-through'"),
    (RUN + "--estimator clever:gradient=bpda", "'straight-through'"),
    (RUN + "--estimator clever:0.3", "plugins show clever"),
    (RUN + "--estimator clever,radius=0.3", "clever:KEY=VALUE"),
    (RUN + "--estimator attack:max_iter=9", "'steps'"),
    # everything else of a run
    (RUN + "--seed -1", "at least 0"),
    (RUN + "--seed one", "an integer"),
    (RUN + "--device gpu", "auto, cpu"),
    (RUN + "--device cuda:99", "auto, cpu"),
    (RUN + "--bounds 0-1", "such as 0,1"),
    (RUN + "--bounds 1,0", "low then high"),
    (RUN + "--bounds 0", "low then high"),
    (RUN + "--mean 0.5;0.5", "such as 0,1"),
    (RUN + "--std 0", "above 0"),
    (RUN + "--recover yes", "'off', 'suspect' or 'on'"),
    (RUN + "--chunk 0", "at least 1"),
    (RUN + "--time-limit -5", "--time-limit"),
    (RUN + "--time_limit 5", "--time-limit"),
    (RUN + "--fail-on held", "'refuted', 'suspect'"),
    (RUN + "--on slurm", "dask, local"),
    (RUN + "--reuse nosuch", "last"),
    (RUN + "--eps 0.3", "--estimator clever:radius=VALUE"),
    (RUN + "--epsilon 0.3", "--estimator clever:radius=VALUE"),
    (RUN + "--n-samples 100", "samples=VALUE"),
    (RUN + "--attack pgd", "--estimator attack"),
    (RUN + "--staircase 255", "--masker staircase"),
    (RUN + "--bits 8", "--help"),
    # study files
    ("run key.toml", "key.toml:1: no key 'model' in a study. Did you mean 'models'"),
    ("run norm.toml", "norm.toml:2: no key 'norm' in a study. Did you mean 'norms'"),
    ("run norms.toml", "norms.toml:2: no norm 'Linf'. Did you mean 'linf'"),
    ("run list.toml", "models = ['digits:mlp']"),
    ("run table.toml", "'estimators'"),
    ("run use.toml", 'use = "clever"'),
    ("run syntax.toml", "stands in quotes"),
    ("run value.toml", "an integer at least 1"),
    ("run stack.toml", "'staircase'"),
    ("run label.toml", "another label"),
    ("run deep.toml", "deep.toml:2"),
    ("run empty.toml", 'models = ["digits:mlp"]'),
    # other commands
    ("rum", "'run'"),
    ("report", "'export'"),
    ("runs list", "`falsefloor runs` alone"),
    ("plugins lst", "'list'"),
    ("show lst", "'last'"),
    ("show nosuch", "last"),
    ("export last --format docx", "'html'"),
    ("export last --format HTML", "'html'"),
    ("export last --output", "requires an argument"),
    ("explain FF999", "FF101, FF102"),
    ("explain vanished", "FF101 is 'vanished gradient'"),
    ("replay last", "FINDING"),
    ("replay last nosuch", "There are: "),
    ("compare last", "RUN"),
    ("compare last nosuch", "last"),
    ("compare last~9 last", "`falsefloor runs`"),
    ("explain clever", "falsefloor plugins show clever"),
    ("runs gc --older 3d", "a valid number"),
    ("runs --limit -1", "greater than or equal to 0"),
    ("plugins show clevr", "'clever'"),
    ("plugins new", "NAME"),
    ("diagnose", "MODEL"),
    ("diagnose net.py", "python:net.py:build"),
    ("diagnose digits:mpl", "'mlp'"),
    ("diagnose digits:mlp --norm L2", "'l2'"),
    ("inputs batch.npz", "npz:batch.npz"),
    ("inputs digits:0-9 --model mlp", "digits:mlp"),
    ("tui nosuch", "last"),
    ("cancel last", "it is done"),
    ("resume nosuch", "last"),
    ("show last --jsno", "--json"),
    ("demo --seed x", "a valid integer"),
    ("doctor --fix", "--json"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    np.savez(folder / "batch.npz", x=np.zeros((2, 1, 8, 8), np.float32))
    torch.save({"weight": torch.zeros(3)}, folder / "state.pt")
    (folder / "store").mkdir()
    sample(folder / "store")
    return folder


@pytest.mark.parametrize(("slip", "cure"), SLIPS, ids=[slip for slip, _ in SLIPS])
def test_a_slip_is_one_message_that_names_the_cure_and_no_run(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch, slip: str, cure: str
) -> None:
    monkeypatch.setenv("FALSEFLOOR_STORE", str(place / "store"))
    monkeypatch.chdir(place)
    before = sorted((place / "store").iterdir())
    seen = command(*slip.split())
    assert seen.code == 2 and not seen.out, seen
    assert seen.err.count("error: ") == 1 and cure in seen.err
    assert not re.search(r"^run ", seen.err, re.M), "the id of a run that is none"
    assert "Traceback" not in seen.err
    assert sorted((place / "store").iterdir()) == before


def test_what_a_models_own_code_wrote_is_shown_where_it_cannot_be_loaded(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    seen = command("run", "--model", "python:broken.py:build", "--inputs", "digits:0", "--json", "--detach")
    assert "  before\n" in seen.err and not seen.out and seen.err.count("weights.pt is missing") == 1


@pytest.mark.parametrize("written", ["FF201", "ff201", "201", "FF201:"])
def test_a_code_is_explained_however_it_is_copied(command: Command, written: str) -> None:
    assert command("explain", written).out.startswith("FF201 floor above ceiling")


def test_a_group_without_a_command_is_its_help_and_no_empty_error(command: Command) -> None:
    done = command("plugins")
    assert done.code == 2 and "error:" not in done.err and "list" in done.out + done.err
