"""Options that take several values after one flag: `--data a.csv b.csv`.

click knows only repeated flags. A command without arguments has no use for loose values, so those
that follow such a flag can be given the flag themselves before click looks at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def spread(words: Sequence[str], flags: Collection[str]) -> list[str]:
    """Repeat a flag before each further value: `--data a b` → `--data a --data b`.

    Args:
        words: The command line.
        flags: Flags that take several values.
    """
    result: list[str] = []
    flag: str | None = None
    values = 0
    for index, word in enumerate(words):
        if word == "--":
            return result + list(words[index:])
        if word.startswith("-") and word != "-":
            name, equals, _ = word.partition("=")
            flag = name if name in flags else None
            values = 1 if equals else 0
            result.append(word)
            continue
        if flag is not None and values:
            result.append(flag)
        values += 1
        result.append(word)
    return result


class SeveralValues(click.Command):
    """A command whose `multiple` options also take several values after one flag."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `spread`."""
        flags = {
            flag
            for parameter in self.params
            if isinstance(parameter, click.Option) and parameter.multiple
            for flag in parameter.opts
        }
        return super().parse_args(ctx, spread(args, flags))


class Distinct:
    """A callback for options that take several values: each counts once, in the order given."""

    def __call__(
        self, _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
    ) -> tuple[str, ...]:
        """See the class."""
        return tuple(dict.fromkeys(values))
