"""What every verb does with its command line before its own options are read."""

from typing import Any

from typer.core import TyperCommand

from zephyr_utils.errors import HandbookError


class Verb(TyperCommand):
    """A verb that refuses empty values of its options and arguments.

    An empty path would be the current folder, or nothing given; a shell makes one of a variable
    that is not set.
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
        with_value = {
            name
            for parameter in self.get_params(ctx)
            if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
            for name in parameter.opts
        }
        before = ""
        for argument in args:
            option, equals, value = argument.partition("=")
            joined = bool(equals) and option in with_value
            if not (value if joined else argument).strip():
                taken = option if joined else before if before in with_value else ""
                raise HandbookError(
                    "the value is empty",
                    where=taken or f"an argument of `zephyr {self.name}`",
                    remedy="give one, or leave the option out; a shell variable that is not set "
                    "is empty"
                    if taken
                    else "leave it out; a shell variable that is not set is empty",
                )
            before = argument
