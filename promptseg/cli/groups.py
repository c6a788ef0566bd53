"""How commands are listed and explained: by what a person wants to do, each with an example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from promptseg.cli.options import joined
from promptseg.cli.terminal import COMMON, interrupted

__all__ = ["GROUPS", "Command", "Group", "explained"]

GROUPS = {
    "Segment": ("segment", "wholebody", "batch"),
    "Images": ("info", "check", "convert", "deidentify", "example"),
    "Masks": ("measure", "evaluate", "report", "combine", "export", "import"),
    "People and viewers": ("app", "serve", "users", "audit", "recover", "mcp"),
    "Models": ("models", "cache", "bench"),
    "This machine": ("demo", "doctor", "bundle", "grand-challenge"),
}
WIDE = 1000  # characters: a summary is wrapped, never cut
INTERRUPTED = 130  # exit code
Run = TypeVar("Run", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command that takes lists with spaces, and whose help ends with examples and the options of all commands."""

    examples: tuple[str, ...] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take several values behind one option, as TotalSegmentator does."""
        repeatable = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        return super().parse_args(ctx, joined(args, repeatable))

    def invoke(self, ctx: Any) -> Any:
        """Run; Ctrl-C says what stands."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo(f"promptseg: {interrupted()}", err=True)
            raise typer.Exit(INTERRUPTED) from None

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write examples and what stands in every command."""
        _write_examples(self.examples, formatter)
        _write_common(formatter)


class Group(TyperGroup):
    """The program, or a command with commands of its own."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands by group, each with the whole of its first sentence."""
        named = {name for names in GROUPS.values() for name in names}
        if not named.intersection(self.commands):
            self._section("Commands", tuple(self.commands), formatter)
            return
        for title, names in GROUPS.items():
            self._section(title, tuple(name for name in names if name in self.commands), formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write what stands in every command."""
        _write_common(formatter)

    def _section(self, title: str, names: tuple[str, ...], formatter: Any) -> None:
        rows = [(name, self.commands[name].get_short_help_str(WIDE)) for name in names]
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def explained(app: Any, *examples: str, name: str | None = None) -> Callable[[Run], Run]:
    """Make a function a command, with lines that a person can copy.

    Args:
        app: the typer program, or a part of it.
        examples: whole lines.
        name: of the command; the function's without one.
    """

    class Explained(Command):
        pass

    Explained.examples = examples
    added: Callable[[Run], Run] = app.command(name, cls=Explained)
    return added


def _write_examples(examples: tuple[str, ...], formatter: Any) -> None:
    if examples:
        with formatter.section("Examples"):
            for line in examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _write_common(formatter: Any) -> None:
    with formatter.section("Everywhere"):
        formatter.write_dl(list(COMMON.items()))
