"""Several values after one flag."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from trainer.options import SeveralValues, spread


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--data a b c", "--data a --data b --data c"),
        ("--data a --data b", "--data a --data b"),
        ("--data a b --epochs 3 --data c d", "--data a --data b --epochs 3 --data c --data d"),
        ("--data=a b", "--data=a --data b"),
        ("--data a -q", "--data a -q"),
        ("--epochs 3", "--epochs 3"),
        ("--epochs 3 stray", "--epochs 3 stray"),
        ("--data a -- b", "--data a -- b"),
        ("--data - b", "--data - --data b"),
        ("", ""),
    ],
)
def test_spread(words: str, expected: str) -> None:
    assert spread(words.split(), {"--data"}) == expected.split()


@click.command(cls=SeveralValues)
@click.option("--data", multiple=True)
@click.option("--epochs", type=int)
@click.option("--quiet", is_flag=True)
def command(data: tuple[str, ...], epochs: int | None, quiet: bool) -> None:
    click.echo(f"{data} {epochs} {quiet}")


def test_in_a_command() -> None:
    result = CliRunner().invoke(command, ["--data", "a", "b", "--epochs", "3", "--quiet"])
    assert result.output == "('a', 'b') 3 True\n"


def test_loose_values_stay_a_usage_error() -> None:
    for words in (["--epochs", "3", "stray"], ["--quiet", "stray"]):
        result = CliRunner().invoke(command, words)
        assert result.exit_code == 2
        assert "stray" in result.output
