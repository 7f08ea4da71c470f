"""The agent: packets to flows to scores to alerts, on a gateway. Never imports TensorFlow."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("edge-ids")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
