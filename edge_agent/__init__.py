"""The agent: packets to flows to scores to alerts, on a gateway. Never imports TensorFlow."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    # Looked up when asked for: reading the distribution's metadata takes longer than all the rest
    # of starting a meter.
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("edge-ids")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"
