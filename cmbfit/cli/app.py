"""The command line: each command's module is imported when the command is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

COMMANDS = {
    "init": "init:init",
    "check": "check:check",
    "run": "run:run",
    "watch": "watch:watch",
    "fit": "fit:fit",
    "compare": "compare:compare",
    "subsets": "subsets:subsets",
    "profile": "profile:profile",
    "forecast": "forecast:forecast",
    "report": "report:report",
    "loglike": "loglike:loglike",
    "lite": "lite:lite",
    "theory": "theory:theory",
    "spectra": "spectra:spectra",
    "stokes": "stokes:stokes",
    "birefringence": "birefringence:birefringence",
    "data": "data:app",
    "emulator": "emulator:app",
    "primordial": "primordial:app",
    "firas": "firas:firas",
    "hawking": "hawking:hawking",
    "unblind": "unblind:unblind",
    "reproduce": "provenance:reproduce",
    "cite": "provenance:cite",
    "trust": "trust:trust",
    "bench": "bench:app",
}
"""Command to module of this package and the function, or the Typer of several, in it."""


class LazyGroup(TyperGroup):
    """A group that imports a command's module when it is needed: torch and CAMB take seconds."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Import and return a command, None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f"cmbfit.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            one = typer.Typer(add_completion=False)
            one.command(cmd_name, context_settings=getattr(found, "context_settings", None))(found)
            found = one
        found._add_completion = False  # the whole program's is enough
        command: Any = get_command(found)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of a line; an unknown word gets the nearest names."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from cmbfit.errors import unknown_name  # noqa: PLC0415

            ctx.fail(unknown_name("command", args[0], COMMANDS))
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=LazyGroup,
    help="From CMB maps to the physics of the early universe: data, theory spectra, likelihoods, fits.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from cmbfit import __version__  # noqa: PLC0415 (reads the package's metadata)

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; a typed error, or a file that cannot be had, prints one line and exits with 2."""
    from cmbfit.errors import CmbfitError, printable  # noqa: PLC0415

    try:
        app()
    except (CmbfitError, OSError) as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        sys.exit(2)
