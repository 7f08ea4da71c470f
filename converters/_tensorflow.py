"""The one place that imports TensorFlow, for the child process only.

`TF_USE_LEGACY_KERAS` must be set before the first import: the LSTMs of Keras 3 become loops that
crash the int8 converter, and tensorflow-model-optimization takes models of Keras 2 only.
"""

from __future__ import annotations

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
# Chatter about CPUs and missing GPUs; errors still come through.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Bit-equal results between machines' thread counts matter more here than the last percent.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf
import tf_keras as keras

__all__ = ["keras", "tf"]
