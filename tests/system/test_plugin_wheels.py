"""Plugins as strangers install them: wheels in a new environment, the console script, a real study."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from wheelhouse import ROOT, Environment, build, make_environment, write_wheel
from zoo import BAD, CHECKS, FAILING, LIARS, THIEF, TWIN

EXAMPLES = ROOT / "examples"
SHORT = {"FALSEFLOOR_PLUGIN_TIMEOUT": "2"}
"""Seconds a bad plugin may take; ours are described already and are not asked again."""
ONLY_LIARS = {"FALSEFLOOR_PLUGINS": "liars,falsefloor-spheres"}
ONLY_JUDGES = {"FALSEFLOOR_PLUGINS": "judges,falsefloor-spheres"}
ONLY_GOOD = {"FALSEFLOOR_PLUGINS": "falsefloor-foolbox,falsefloor-spheres,falsefloor-fresh"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our wheel, the examples' and the zoo's."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, EXAMPLES / "falsefloor-foolbox", EXAMPLES / "falsefloor-spheres"):
        build(project, folder)
    singles = {dist: (source, dist) for dist, (source, _, _) in BAD.items()}
    singles |= {dist: (source, "twin") for dist, source in TWIN.items()}
    singles |= {dist: (source, "clever") for dist, source in THIEF.items()}
    for dist, (source, name) in singles.items():
        write_wheel(folder, dist, source, {"estimators": {name: f"{dist.replace('-', '_')}:Plugin"}})
    names = (*FAILING, "untrue", "nearer", "above")
    write_wheel(
        folder, "liars", LIARS, {"estimators": {name: f"liars:{name.capitalize()}" for name in names}}
    )
    checks = {"sound": "judges:Sound", "accuser": "judges:Accuser", "raiser": "judges:Raiser"}
    write_wheel(folder, "judges", CHECKS, {"checks": checks})
    return folder


@pytest.fixture(scope="module")
def clean(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Our wheel, both examples and a package that `plugins new` wrote there, installed as anybody would."""
    made = make_environment(tmp_path_factory.mktemp("clean") / "env", wheels)
    made.install("falsefloor", "falsefloor-foolbox", "falsefloor-spheres")
    done = made.run("plugins", "new", "fresh", "--kind", "estimator", "--into", made.folder / "new")
    assert done.returncode == 0, done
    build(made.folder / "new/falsefloor-fresh", wheels)
    made.install("falsefloor-fresh")
    return made


@pytest.fixture(scope="module")
def infested(clean: Environment) -> Environment:
    """The same with every bad plugin; ours are described before those come, as on a machine in use."""
    assert clean.run("plugins", "list").returncode == 0
    clean.install(*BAD, *TWIN, *THIEF, "liars", "judges")
    return clean


def rows(document: Any, key: str = "plugins") -> dict[str, dict[str, Any]]:
    return {f"{row['dist']}/{row['name']}": row for row in document[key]}


def by_estimator(document: Any) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for estimate in document["estimates"]:
        found.setdefault(estimate["estimator"], []).append(estimate)
    return found


def codes(estimates: Iterable[dict[str, Any]]) -> set[str]:
    return {warning["code"] for estimate in estimates for warning in estimate["warnings"]}


def test_the_environment_has_our_wheel_and_not_this_checkout(clean: Environment) -> None:
    done = clean.python_run("-c", "import falsefloor; print(falsefloor.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(clean.folder), done


def test_the_examples_and_the_generated_package_are_healthy(clean: Environment) -> None:
    found = rows(clean.document("plugins", "list", "--json"))
    others = {spec: row["status"] for spec, row in found.items() if row["dist"].startswith("falsefloor-")}
    assert others == dict.fromkeys(
        [
            *(f"falsefloor-foolbox/foolbox-{name}" for name in ("ddn", "deepfool", "fmn")),
            *(f"falsefloor-spheres/{name}" for name in ("disagreement", "kwta", "spheres")),
            "falsefloor-fresh/fresh",
        ],
        "healthy",
    )


def test_a_study_with_all_of_them_ends_in_known_distances(clean: Environment) -> None:
    names = ("clever:batches=10,samples=100", "foolbox-ddn", "fresh:samples=1000")
    flags = [word for name in names for word in ("--estimator", name)]
    document = clean.document("run", "--model", "spheres:4", "--norm", "l2", *flags, "--json", **ONLY_GOOD)
    found = by_estimator(document)
    assert document["run"]["status"] == "done"
    for name in names:
        estimates = found[name.partition(":")[0]]
        assert len(estimates) == 10
        for estimate in estimates:
            assert estimate["status"] == "ok", estimate
            wrong = estimate["radius"] < 0.15 * (1 - 1e-4)
            assert (
                not wrong if estimate["claim"] == "upper_bound" else estimate["radius"] <= 0.15 * (1 + 1e-4)
            )
    assert {e["plugin"]["dist"] for e in found["foolbox-ddn"]} == {"falsefloor-foolbox"}
    assert max(e["radius"] for e in found["foolbox-ddn"]) < 0.16


@pytest.mark.slow
def test_a_generated_check_package_is_green_with_one_command_more(clean: Environment) -> None:
    made = clean.folder / "new"
    assert clean.run("plugins", "new", "my-rule", "--kind", "check", "--into", made).returncode == 0
    done = clean.python_run("-m", "pytest", "-q", "-p", "no:cacheprovider", made / "falsefloor-my-rule")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_every_bad_plugin_is_a_row_with_its_reason_and_stdout_stays_json(infested: Environment) -> None:
    found = rows(infested.document("plugins", "list", "--json", **SHORT))
    for dist, (_, status, reason) in BAD.items():
        row = found[f"{dist}/{dist}"]
        assert (row["status"], reason in row["reason"]) == (status, True), row
    assert {found[f"twin-{n}/twin"]["status"] for n in ("one", "two")} == {"duplicate"}
    assert "twin-two/twin" in found["twin-one/twin"]["reason"]
    assert found["falsefloor/clever"]["status"] == "healthy"
    assert found["thief/clever"]["status"] == "duplicate"
    assert "falsefloor's own" in found["thief/clever"]["reason"]


@pytest.mark.slow
def test_every_other_command_works_among_them(infested: Environment) -> None:
    infested.run("plugins", "list", **SHORT)
    for command in (
        ("--version",),
        ("plugins", "list"),
        ("plugins", "show", "bad-crashes"),
        ("explain", "FF201"),
        ("runs", "--json"),  # a store without runs, whichever tests came before, says so on stderr
    ):
        done = infested.run(*command, **SHORT)
        assert (done.returncode, bool(done.stdout)) == (0, True), (command, done)
    refused = infested.run("run", "--model", "digits:mlp", "--estimator", "bad-exits", **SHORT)
    assert refused.returncode == 4
    assert "sys.exit(3)" in refused.stderr
    hidden = infested.document("plugins", "list", "--json", "--no-plugins")
    assert {row["dist"] for row in hidden["plugins"]} == {"falsefloor"}


@pytest.mark.slow
def test_a_lying_plugin_is_caught_at_run_time_every_time(infested: Environment) -> None:
    names = (*FAILING, "untrue", "nearer", "above", "attack")
    flags = [word for name in names for word in ("--estimator", name)]
    document = infested.document(
        "run",
        "--model",
        "spheres:4",
        "--inputs",
        "spheres:0-3",
        "--norm",
        "l2",
        *flags,
        "--json",
        **ONLY_LIARS,
    )
    found = by_estimator(document)
    for name, reason in FAILING.items():
        assert len(found[name]) == 4
        for estimate in found[name]:
            assert estimate["status"] == "failed", estimate
            assert estimate["radius"] is None
            assert reason in estimate["error"], estimate
    for estimate in found["untrue"]:
        assert (estimate["radius"], estimate["witness"]) == ("inf", None)
        assert estimate["verdict"] != "held"
        assert "FF504" in codes([estimate])
    for estimate in found["nearer"]:  # from radius 1 to 1.4, from 1.3 to 0.78
        assert estimate["radius"] == pytest.approx(0.4 if estimate["label"] == 0 else 0.52, rel=2e-3)
    for estimate in found["above"]:
        assert estimate["verdict"] == "refuted"
        assert "FF204" in codes([estimate])
        assert any(warning["witness"] for warning in estimate["warnings"])
    for estimate in found["attack"]:  # nobody's lie reaches its neighbour
        assert (estimate["status"], estimate["verdict"]) == ("ok", "held"), estimate
        assert estimate["radius"] == pytest.approx(0.15, rel=1e-3)


@pytest.mark.slow
def test_other_peoples_checks_judge_a_run_and_never_refute_without_a_point(
    infested: Environment,
) -> None:
    document = infested.document(
        *("run", "--model", "spheres:4", "--inputs", "spheres:0-1", "--norm", "l2"),
        *("--estimator", "clever:radius=0.1", "--estimator", "attack", "--recover", "off", "--json"),
        **ONLY_JUDGES,
    )
    estimates = document["estimates"]
    assert len(estimates) == 4
    for estimate in estimates:
        found = {warning["code"]: warning for warning in estimate["warnings"]}
        assert found["judges:SEEN"]["message"].startswith(estimate["estimator"])
        assert found["judges:SEEN"]["evidence"]["others"] == 1
        assert found["judges:WRONG"]["severity"] == "suspect"
        assert "where am I" in found["FF901"]["message"]
        assert estimate["verdict"] == "suspect"
    clever = next(e for e in estimates if e["estimator"] == "clever")
    seen = next(w for w in clever["warnings"] if w["code"] == "judges:SEEN")
    assert seen["evidence"]["curves"] > 0
    assert infested.run("explain", "judges:SEEN", **ONLY_JUDGES).stdout.startswith("judges:SEEN seen (note)")
    table = infested.run("show", "last").stdout
    assert "judges:WRONG" in table


@pytest.mark.slow
def test_the_kit_runs_on_what_is_installed_in_a_process_of_its_own(infested: Environment) -> None:
    done = infested.run("plugins", "check", "exiting", "--json", **SHORT)
    document = json.loads(done.stdout)
    outcomes = {row["name"]: row for row in document["checks"]}
    assert done.returncode == 1, done
    assert document["schema"] == "falsefloor.conformance/1"
    assert outcomes["contract"]["outcome"] == "passed"
    assert outcomes["right on a linear model [l2]"]["outcome"] == "failed"
    assert infested.run("plugins", "check", "bad-raises", **SHORT).returncode == 4


@pytest.mark.parametrize("package", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_an_example_uses_public_names_only(package: str) -> None:
    sources = sorted((EXAMPLES / package).rglob("*.py"))
    assert len(sources) > 2
    own = package.replace("-", "_")
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                first, _, rest = (module or "").partition(".")
                assert first != "falsefloor" or rest in ("api", "testing"), (source, module)
                assert not first.startswith("falsefloor_") or first == own, (source, module)


KINDS = ("estimator", "masker", "gradient", "model", "input", "check")
REFS = {"model": ["--ref", "3"], "input": ["--ref", "8"]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_package_builds_passes_its_tests_and_its_kit(
    clean: Environment, wheels: Path, kind: str
) -> None:
    made = clean.folder / "each"
    assert clean.run("plugins", "new", f"own-{kind}", "--kind", kind, "--into", made).returncode == 0
    folder = made / f"falsefloor-own-{kind}"
    done = clean.python_run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:]
    build(folder, wheels)
    clean.install(folder.name)
    spec = f"{folder.name}/own-{kind}"
    checked = clean.run("plugins", "check", spec, "--kind", kind, *REFS.get(kind, []), timeout=600)
    assert checked.returncode == 0, checked


@pytest.mark.slow
def test_generated_packages_and_examples_pass_strict_mypy(clean: Environment) -> None:
    made = clean.folder / "typed"
    for kind in KINDS:
        assert clean.run("plugins", "new", f"typed-{kind}", "--kind", kind, "--into", made).returncode == 0
    for folder in (*made.iterdir(), *(path for path in EXAMPLES.iterdir() if path.is_dir())):
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--cache-dir", str(clean.folder / "mypy")],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (folder, done.stdout)
