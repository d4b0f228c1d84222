"""What every command does with its command line before its own options are read."""

from typing import Any

from typer.core import TyperCommand

from zephyr_utils.errors import HandbookError


class Command(TyperCommand):
    """A command that refuses empty values of its options and arguments.

    An empty path would mean the current folder, or pass for an option left out; a shell passes one
    for an unset variable.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments left over, as `TyperCommand` has it.

        Raises:
            HandbookError: a value is empty or blank, with the option that it belongs to.
        """
        if not ctx.resilient_parsing:  # a shell that completes a word asks about empty ones
            self._refuse_empty(ctx, args)
        return super().parse_args(ctx, args)

    def _refuse_empty(self, ctx: Any, args: list[str]) -> None:
        parameters = self.get_params(ctx)
        with_value = {
            name: parameter
            for parameter in parameters
            if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
            for name in parameter.opts
        }
        positional = [p for p in parameters if p.param_type_name == "argument"]
        before = ""
        for argument in args:
            option, equals, value = argument.partition("=")
            joined = bool(equals) and option in with_value
            if not (value if joined else argument).strip():
                taken = option if joined else before if before in with_value else ""
                meant = [with_value[taken]] if taken else positional
                optional = "" if any(one.required for one in meant) else ", or leave it out"
                raise HandbookError(
                    "the value is empty",
                    where=taken or f"an argument of `zephyr {self.name}`",
                    remedy=f"give a value{optional}; an unset shell variable is passed as an empty "
                    "one",
                )
            before = argument
