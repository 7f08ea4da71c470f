"""NFStream on one capture, in its own environment: ``python nfstream_child.py CAPTURE``.

Statistical analysis on: the columns that compare to ours. No payload dissection, which NFStream
would do by default and our meter does not; one metering process. Prints how many flows there were.
"""

import importlib
import sys


def main() -> None:
    """Count the flows of the capture."""
    streamer = importlib.import_module("nfstream").NFStreamer(
        source=sys.argv[1], statistical_analysis=True, n_dissections=0, n_meters=1
    )
    print(sum(1 for _ in streamer))


# NFStream starts processes that import this file again.
if __name__ == "__main__":
    main()
