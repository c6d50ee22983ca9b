"""The typer app: all commands, the options before them, and how every error ends."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from falsefloor.cli import (
    claim,
    diagnose,
    doctor,
    explain,
    export,
    plugins,
    run,
    runs,
    show,
)
from falsefloor.cli.ending import EPILOG, INTERRUPTED
from falsefloor.cli.terminal import OPENED, interactive, say
from falsefloor.errors import FalsefloorError, did_you_mean, meant

USAGE = 2
ANYWHERE = {"--store": True, "--no-plugins": False}
"""Global options that may also be written after the command; whether they take a value."""

app = typer.Typer(
    name="falsefloor",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

START = "Start here"
RUNS = "Runs (RUN is the beginning of an id, a path, `last` or `last~1`)"
HELP = "Find out"

app.command("demo", rich_help_panel=START)(run.demo)
app.command("run", rich_help_panel=START)(run.run)
app.command("tui", rich_help_panel=START)(run.tui)
app.command("show", rich_help_panel=RUNS)(show.show)
app.command("watch", rich_help_panel=RUNS)(show.watch)
app.add_typer(runs.listing, name="runs", rich_help_panel=RUNS)
app.command("cancel", rich_help_panel=RUNS)(runs.cancel)
app.command("pause", rich_help_panel=RUNS)(runs.pause)
app.command("resume", rich_help_panel=RUNS)(runs.resume)
app.command("judge", rich_help_panel=RUNS)(runs.judge)
app.command("replay", rich_help_panel=RUNS)(runs.replay)
app.command("compare", rich_help_panel=RUNS)(export.compare)
app.command("export", rich_help_panel=RUNS)(export.export)
app.command("diagnose", rich_help_panel=HELP)(diagnose.diagnose)
app.command("claim", rich_help_panel=HELP)(claim.claim)
app.command("reproduce", rich_help_panel=START)(run.reproduce)
app.command("explain", rich_help_panel=HELP)(explain.explain)
app.command("inputs", rich_help_panel=HELP)(explain.inputs)
app.add_typer(plugins.listing, name="plugins", rich_help_panel=HELP)
app.command("doctor", rich_help_panel=HELP)(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        from falsefloor import __version__

        typer.echo(f"falsefloor {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog=EPILOG)
def root(
    ctx: typer.Context,
    store: Annotated[
        Path | None,
        typer.Option(help="Where runs are kept.", envvar="FALSEFLOOR_STORE", file_okay=False),
    ] = None,
    no_plugins: Annotated[bool, typer.Option("--no-plugins", help="Only falsefloor's own plugins.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Robustness estimates that say whether they stand.

    Composes a model with maskers that hide its gradients, runs estimators
    side by side, and refutes the numbers that do not stand.
    Without a command it opens the app. To begin: falsefloor demo
    """
    if no_plugins:
        os.environ["FALSEFLOOR_PLUGINS"] = ""  # children inherit it
    from falsefloor.store.run_dir import store_root

    ctx.obj = store_root(store)
    if ctx.invoked_subcommand is None:
        if not interactive():
            typer.echo(ctx.get_help())
            raise typer.Exit
        run.tui(ctx)


@cache
def commands() -> Any:
    """All of them, with their options: 14 ms, once a process."""
    return get_command(app)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Every foreseen error is one message on stderr."""
    OPENED.clear()
    try:
        result = commands()(_hoisted(arguments), prog_name="falsefloor", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except FalsefloorError as error:
        say(f"error: {error}")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted")
        return INTERRUPTED
    except typer.Exit as stop:
        return stop.exit_code
    except Exception as error:
        # click's usage errors; by shape, since newer typers carry a click of their own
        describe = getattr(error, "format_message", None)
        if describe is None:
            if (said := _damaged()) is None:
                raise
            say(f"error: {said}")
            return USAGE
        if message := str(describe()):  # where it is empty, the help has just been shown instead
            say(f"error: {_told(error, message)}\nhelp:  {_command_of(error, arguments)} --help")
        return USAGE


def _told(error: Any, message: str) -> str:
    """A usage error of click's with what there is instead, where click does not say it."""
    said = message.strip().replace("Value error, ", "")
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if parameter is not None and (words := getattr(parameter, "help", None)):
        named = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar
        said += f"{'' if said.endswith('.') else '.'} {named}: {words}"
    elif context is not None and "No such option" in said and (cure := _of_a_plugin(said)):
        said = f"{said.partition(' (')[0].rstrip('.')}. {cure}"
    elif context is not None and "ossible option" not in said and "No such option" in said:
        names = [name for one in context.command.params for name in one.opts if name.startswith("--")]
        said += f". There are: {', '.join(names)}."
    elif context is not None and "No such command" in said and "Did you mean" not in said:
        asked = said.partition("'")[2].partition("'")[0]
        alone = f" `{context.command_path}` alone works too." * context.command.invoke_without_command
        said += f" {did_you_mean(asked, context.command.commands)}{alone}"
    return said


def _of_a_plugin(said: str) -> str:
    """What was taken for a flag and is a plugin, or a plugin's parameter, whatever others call it; "" for
    what is nearer to a flag."""
    from falsefloor.plugins import catalogue

    option = said.partition("--")[2].split(" ")[0].rstrip(".,:")
    rows = [row for kind in ("estimator", "masker") for row in catalogue().of(kind) if row.plugin.own]
    for row in rows:
        if meant(option) == row.plugin.name:
            return f"It is an {row.kind}: --{row.kind} {row.plugin.name}.".replace("an m", "a m")
    for row in rows:
        if any(meant(option) == one.name for one in row.options):
            return f"It is a parameter, as in --{row.kind} {row.plugin.name}:{meant(option)}=VALUE."
    return ""


def _command_of(error: Any, arguments: Sequence[str]) -> str:
    """The command that an error is about, as far as it was understood."""
    if (context := getattr(error, "ctx", None)) is not None:
        return str(context.command_path)
    commands = {one.name for one in app.registered_commands}
    return " ".join(("falsefloor", *(word for word in arguments[:1] if word in commands)))


def _damaged() -> str | None:
    """Whether a run that the command opened is damaged or a stranger's; asked only after something failed."""
    from falsefloor.store.files import damage

    for opened in OPENED:
        if (said := damage(opened)) is not None:
            return f"the file of run {opened.id} is damaged or was not written by falsefloor: {said!r}"
    return None


def _hoisted(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global options in front, wherever they were written."""
    front: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        name, equals, _ = word.partition("=")
        if word == "--":
            rest += [word, *left]
            break
        if name in ANYWHERE and (ANYWHERE[name] or not equals):
            front.append(word)
            if ANYWHERE[name] and not equals and left:
                front.append(left.pop(0))
        else:
            rest.append(word)
    return front + rest
