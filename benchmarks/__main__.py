"""The command ``python -m benchmarks``."""

import click

from benchmarks.accuracy import accuracy
from benchmarks.conversion.cli import conversion
from benchmarks.demo.cli import demo
from benchmarks.emulation.cli import arm64
from benchmarks.lab.cli import lab
from benchmarks.large_table.cli import large_table
from benchmarks.latency import latency
from benchmarks.live.cli import live
from benchmarks.models.cli import compare
from benchmarks.models.unseen import unseen
from benchmarks.soak.cli import soak_command
from benchmarks.throughput.cli import meter, peers
from benchmarks.time_dimension.cli import time_dimension


@click.group(name="benchmarks")
def main() -> None:
    """Measure the toolkit; each figure in the documentation comes from one of these."""


main.add_command(accuracy)
main.add_command(arm64)
main.add_command(compare)
main.add_command(conversion)
main.add_command(demo)
main.add_command(lab)
main.add_command(large_table)
main.add_command(latency)
main.add_command(live)
main.add_command(meter)
main.add_command(peers)
main.add_command(soak_command)
main.add_command(time_dimension)
main.add_command(unseen)

if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
