"""Each command on a stored run: data on stdout, words on stderr, the right exit code."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from commands import Command
from sample_run import StoredRun, sample

from falsefloor.cli import doctor
from falsefloor.errors import StoreError, UsageError


def test_show_prints_the_table_and_the_witness(command: Command, store: Path) -> None:
    run = sample(store)
    shown = command("show", run.id[:5])
    assert (shown.code, shown.err) == (0, "")
    for word in (run.id, "≥1.0000✗", "REFUTED", "FF201 floor above ceiling", "lies at 0.0775"):
        assert word in shown.out


def test_show_json_is_the_document_and_nothing_else(command: Command, store: Path) -> None:
    run = sample(store)
    shown = command("show", "last", "--json")
    document = json.loads(shown.out)
    assert document["schema"] == "falsefloor.run/1" and document["run"]["id"] == run.id
    assert len(document["estimates"]) == 27 and len(document["observations"]) == 9
    assert document["estimates"][9]["warnings"][0]["code"] == "FF201"
    assert document["estimates"][17]["evidence"]["whitebox"] == "inf"


def test_a_run_is_found_by_its_path(command: Command, store: Path, tmp_path: Path) -> None:
    run = sample(tmp_path / "elsewhere")
    assert run.id in command("show", run.path).out


@pytest.mark.parametrize("name", ["last", "abc", "/nowhere/run"])
def test_a_run_that_is_not_there_says_what_is(command: Command, name: str) -> None:
    shown = command("show", name)
    assert shown.code == 2 and shown.out == "" and shown.err.startswith("error: ")
    assert "Traceback" not in shown.err


def test_runs_lists_the_newest_with_its_verdicts(command: Command, store: Path) -> None:
    run = sample(store)
    shown = command("runs")
    assert run.id in shown.out and "3 refuted" in shown.out and "[sample]" in shown.out
    document = json.loads(command("runs", "--json").out)
    assert document["schema"] == "falsefloor.runs/1"
    assert document["runs"][0]["counts"] == {"held": 21, "refuted": 3, "suspect": 3}


def test_no_runs_is_said_on_stderr(command: Command) -> None:
    shown = command("runs")
    assert shown.code == 0 and shown.out == "" and "falsefloor demo" in shown.err


def test_a_damaged_run_is_a_row_and_hides_no_other(command: Command, store: Path) -> None:
    run, broken = sample(store), sample(store)
    broken.db.write_bytes(b"not a database, but long enough to be looked at" * 100)
    rows = {row["id"]: row["status"] for row in json.loads(command("runs", "--json").out)["runs"]}
    assert rows == {run.id: "done", broken.id: "unreadable"}


def test_gc_deletes_old_untagged_runs_only_when_told(command: Command, store: Path) -> None:
    import dataclasses

    from sample_run import STUDY

    bare = dataclasses.replace(STUDY, tag="")
    old, tagged = sample(store, study=bare), sample(store)
    listed = command("runs", "gc", "--older", "1", "--keep", "0")
    assert f"would delete {old.id}" in listed.err and tagged.id not in listed.err and old.path.exists()
    command("runs", "gc", "--older", "1", "--keep", "0", "--yes")
    assert not old.path.exists() and tagged.path.exists()


def test_gc_keeps_the_newest(command: Command, store: Path) -> None:
    run = sample(store)
    assert "nothing to delete" in command("runs", "gc", "--older", "0", "--yes").err and run.path.exists()


@pytest.mark.parametrize("asked", ["cancel", "pause"])
def test_a_run_that_ended_cannot_be_asked(command: Command, store: Path, asked: str) -> None:
    sample(store)
    shown = command(asked, "last")
    assert shown.code == 2 and "not being computed (it is done)" in shown.err


@pytest.mark.parametrize("asked", ["cancel", "pause"])
def test_a_running_run_is_asked_through_its_directory(
    command: Command, store: Path, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sample(store, status="running")
    monkeypatch.setattr("falsefloor.store.run_dir.RunDir.is_alive", lambda self: True)
    assert command(asked, "last").code == 0
    assert [entry.name for entry in run.commands.iterdir()] == [asked]


def test_watch_tells_a_lost_worker_by_its_exit_code(command: Command, store: Path) -> None:
    sample(store, status="running")
    shown = command("watch", "last")
    assert shown.code == 5 and "lost" in shown.out


def test_watch_of_a_run_with_a_failed_unit_exits_with_one(command: Command, store: Path) -> None:
    sample(store, failing=["clever"])
    shown = command("watch", "last")
    assert shown.code == 1 and "failed" in shown.out


def test_watch_narrates_cells_on_stderr_where_there_is_no_terminal(command: Command, store: Path) -> None:
    sample(store)
    shown = command("watch", "last")
    assert shown.code == 0
    assert "digits:mlp staircase:c=255 linf clever  ≥1.0000✗  REFUTED: FF201" in shown.err


def test_a_finished_run_is_resumed_by_showing_it(command: Command, store: Path) -> None:
    run = sample(store)
    before = run.db.read_bytes()
    ended = command("resume", "last")
    assert ended.code == 0
    assert "is done: nothing to do" in ended.err
    assert "attack" in ended.out
    assert run.db.read_bytes() == before


def test_judge_judges_again_what_is_stored_and_prints_it(command: Command, store: Path) -> None:
    run = sample(store)
    with closing(sqlite3.connect(run.db)) as db:  # as a version whose checks saw less would have left it
        db.execute("UPDATE estimate SET verdict = 'held', reason = '' WHERE verdict = 'refuted'")
        db.execute("UPDATE tally SET verdict = 'held' WHERE verdict = 'refuted'")
        db.commit()
    judged = command("judge", "last", "--json")
    assert judged.code == 0 and "verdicts: held 24 > 21, refuted 0 > 3, suspect 3 > 3" in judged.err
    document = json.loads(judged.out)
    assert document["run"]["id"] == run.id
    refuted = {e["name"] for e in document["estimates"] if e["verdict"] == "refuted"}
    assert refuted == {"clever"}
    assert "no verdict changed" in command("judge", "last").err


def test_a_run_that_is_computed_is_not_judged_again(
    command: Command, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample(store, status="running")
    monkeypatch.setattr("falsefloor.store.run_dir.RunDir.is_alive", lambda self: True)
    assert command("judge", "last").code == 2


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("json", '"falsefloor.run/1"'),
        ("csv", "model,masker,norm"),
        ("md", "# falsefloor run"),
        ("html", "<!DOCTYPE html>"),
    ],
)
def test_export_writes_every_form(
    command: Command, store: Path, tmp_path: Path, form: str, told: str
) -> None:
    sample(store)
    file = tmp_path / f"out.{form}"
    shown = command("export", "last", "--format", form, "--output", file)
    assert shown.code == 0 and shown.out == "" and told in file.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.glob(".out*")] == []


@pytest.mark.slow
def test_export_of_figures_fills_a_folder(command: Command, store: Path, tmp_path: Path) -> None:
    sample(store)
    shown = command("export", "last", "--format", "png", "--output", tmp_path / "figures")
    assert shown.code == 0 and shown.out == "" and "figures to" in shown.err
    assert (tmp_path / "figures" / "comparison.png").exists()


def test_export_to_stdout_is_the_form_alone(command: Command, store: Path) -> None:
    sample(store)
    assert json.loads(command("export", "last").out)["schema"] == "falsefloor.run/1"
    assert command("export", "last", "-f", "csv").out.count("\n") == 28


def test_an_exported_run_opens_anywhere(command: Command, store: Path, tmp_path: Path) -> None:
    run = sample(store)
    target = tmp_path / "copy"
    assert command("export", "last", "-f", "run", "-o", target).code == 0
    assert run.id in command("show", target).out
    again = command("export", "last", "-f", "run", "-o", target)
    assert again.code == 2 and "exists already" in again.err


def test_export_into_a_missing_folder_is_one_message(command: Command, store: Path, tmp_path: Path) -> None:
    sample(store)
    shown = command("export", "last", "-o", tmp_path / "no" / "out.json")
    assert shown.code == 2 and "cannot write" in shown.err and "Traceback" not in shown.err


def test_compare_says_what_changed(command: Command, store: Path) -> None:
    one, other = sample(store), sample(store, factor=0.5)
    shown = command("compare", one.id, other.id)
    assert shown.code == 0 and "×0.50" in shown.out and "of 9 shared cells changed" in shown.out
    document = json.loads(command("compare", one.id, other.id, "--json").out)
    assert document["schema"] == "falsefloor.compare/1" and len(document["changes"]) == 9


def test_explain_tells_meaning_cause_cure_and_blind_spot(command: Command) -> None:
    shown = command("explain", "ff201")
    assert shown.code == 0 and shown.out.startswith("FF201 floor above ceiling (refuted)")
    for title in ("Usual cause", "Cure", "What it cannot see", "Source"):
        assert title in shown.out


def test_explain_alone_lists_every_code(command: Command) -> None:
    from falsefloor.checks.catalogue import CATALOGUE

    assert all(code in command("explain").out for code in CATALOGUE)
    document = json.loads(command("explain", "--json").out)
    assert [row["code"] for row in document["codes"]] == list(CATALOGUE)


def test_an_unknown_code_names_the_nearest(command: Command) -> None:
    shown = command("explain", "FF2O1")
    assert shown.code == 2 and "FF201" in shown.err


def test_plugins_are_listed_with_their_status(command: Command) -> None:
    document = json.loads(command("plugins", "list", "--json").out)
    assert document["schema"] == "falsefloor.plugins/1"
    rows = {(row["kind"], row["name"]): row for row in document["plugins"]}
    assert rows["masker", "staircase"]["status"] == "healthy"
    table = command("plugins", "list", "--kind", "masker").out
    assert "staircase" in table and "autograd" not in table


def test_a_plugin_shows_its_parameters_with_ranges(command: Command) -> None:
    shown = command("plugins", "show", "staircase").out
    assert "a masker of falsefloor" in shown and "above 0" in shown and "--masker staircase:" in shown


def test_an_unknown_plugin_names_the_nearest(command: Command) -> None:
    shown = command("plugins", "show", "stairs")
    assert shown.code == 2 and "staircase" in shown.err


def test_an_unknown_command_or_option_names_the_nearest(command: Command) -> None:
    for words in (("shwo",), ("run", "--modle", "x")):
        shown = command(*words)
        assert shown.code == 2 and "--help" in shown.err and shown.out == ""
    assert "show" in command("shwo").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--masker", "stair"), "staircase"),
        (("--masker", "staircase:levels=3"), "no parameter 'levels'. Did you mean 'c'? There are: c, mode"),
        (("--masker", "staircase:c=-1"), "above 0"),
        (("--estimator", "clever:radius=-1"), "radius"),
        (("--estimator", "clevr"), "clever"),
        (("--inputs", "npy:x"), "npz"),
        (("--inputs", "digits"), "SCHEME:REF"),
        (("--on", "slurm"), "dask"),
        (("--reuse", "abc"), "no run 'abc'"),
    ],
)
def test_a_misspelt_study_starts_nothing(
    command: Command, store: Path, words: tuple[str, str], told: str
) -> None:
    shown = command("run", "--model", "digits:mlp", *words)
    assert shown.code == 2 and told in shown.err and shown.out == ""
    assert list(store.iterdir()) == []


def test_alone_it_prints_the_help_where_there_is_no_terminal(command: Command) -> None:
    shown = command()
    assert shown.code == 0 and "demo" in shown.out and "Usage" in shown.out


def test_the_version_is_the_packages(command: Command) -> None:
    from falsefloor import __version__

    assert command("--version").out == f"falsefloor {__version__}\n"


def test_no_plugins_is_inherited_by_children(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("FALSEFLOOR_PLUGINS", "somebody")
    command("runs", "--no-plugins")
    assert os.environ["FALSEFLOOR_PLUGINS"] == ""


def test_doctor_finds_a_store_that_cannot_be_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_torch", lambda: iter(()))
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    shown = command("doctor", "--json", "--store", blocked / "runs")
    document = json.loads(shown.out)
    assert shown.code == 1 and document["ok"] is False
    assert next(row for row in document["findings"] if row["what"] == "store")["status"] == "bad"


def test_errors_of_our_own_are_one_message(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("the disk is gone")

    monkeypatch.setattr("falsefloor.store.run_dir.find_run", fail)
    shown = command("show", "last")
    assert (shown.code, shown.out, shown.err) == (UsageError.exit_code, "", "error: the disk is gone\n")


def test_progress_of_a_unit_that_moves_is_no_result(command: Command, store: Path) -> None:
    run = StoredRun(store, status="running")
    run.writer.progress({2: (41, 100, [0.03, 0.04, 0.05])})
    run.close()
    assert command("show", "last").code == 0


def test_show_at_tells_the_robust_accuracy_of_each_subject(command: Command, store: Path) -> None:
    sample(store)
    shown = command("show", "last", "--at", "0.01,8/255")
    assert shown.code == 0 and "certified" in shown.out and "0.0314" in shown.out
    document = json.loads(command("show", "last", "--at", "0.01,8/255", "--json").out)
    assert document["schema"] == "falsefloor.accuracy/1"
    for one in document["sets"]:
        for at in one["at"]:
            low, high = at["bracket"]
            assert low <= at["estimated"] / at["inputs"] <= high and at["interval"][0] <= low
    refused = command("show", "last", "--at", "8")
    assert refused.code == 2 and "8/255 is 0.0314" in refused.err
    assert "not attacked" in command("export", "--format", "tex", "--at", "0.02").out
