"""The command ``python -m benchmarks``."""

import click

from benchmarks.demo.cli import demo
from benchmarks.lab.cli import lab


@click.group(name="benchmarks")
def main() -> None:
    """Measure the toolkit; each figure in the documentation comes from one of these."""


main.add_command(demo)
main.add_command(lab)

if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
