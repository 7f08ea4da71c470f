"""The one place that imports TensorFlow.

`TF_USE_LEGACY_KERAS` must be set before the first import: the LSTMs of Keras 3 crash the int8
converter, and tensorflow-model-optimization takes models of Keras 2 only.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

os.environ["TF_USE_LEGACY_KERAS"] = "1"
# Chatter about CPUs and missing GPUs; errors still come through.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The converter's child sets the same, so that both compute the same scores.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Hold back what native code writes to standard error; tell it only if the block fails.

    TensorFlow reports missing CUDA libraries before any of its log levels are in force.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


with _without_chatter():
    import tensorflow as tf
    import tf_keras as keras

    # Looks for GPUs now, so that a machine without one says so here.
    tf.config.list_physical_devices()

__all__ = ["keras", "tf"]
