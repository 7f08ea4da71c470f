"""NFStream on an interface, in its own environment: ``python nfstream_child.py IFACE BUFFER``.

Statistical analysis on, payload dissection off, one metering process: as `peers` runs it on files.
It prints its own performance report every second.
"""

import importlib
import sys


def main() -> None:
    """Take flows until killed."""
    streamer = importlib.import_module("nfstream").NFStreamer(
        source=sys.argv[1],
        statistical_analysis=True,
        n_dissections=0,
        n_meters=1,
        performance_report=1,
        socket_buffer_size=int(sys.argv[2]),
    )
    for _ in streamer:
        pass


# NFStream starts processes that import this file again.
if __name__ == "__main__":
    main()
