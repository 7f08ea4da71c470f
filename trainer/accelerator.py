"""Which device a network learns on, and with how many digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from trainer._tensorflow import tf

if TYPE_CHECKING:
    from collections.abc import Callable

FULL: Final = "float32"
HALF: Final = "mixed_float16"
PRECISIONS: Final = (FULL, HALF, "mixed_bfloat16")

# Sentences the user has been told in this process: several models learn on the same device.
_told: set[str] = set()


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What a network learns on.

    Attributes:
        name: For the user.
        precision: Keras' name of the policy, one of `PRECISIONS`.
    """

    name: str
    precision: str


@cache
def _first_gpu() -> str | None:
    """Its name, ready for use; None where there is none."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    try:
        # One network of this size does not fill one GPU; and without growth TensorFlow takes all
        # of its memory, from itself in another process as well.
        tf.config.set_visible_devices(gpus[:1], "GPU")
        tf.config.experimental.set_memory_growth(gpus[0], enable=True)
    except RuntimeError:
        # TensorFlow is running already: then it stays as whoever started it has set it up.
        pass
    details = tf.config.experimental.get_device_details(gpus[0])
    return str(details.get("device_name", gpus[0].name))


def find(precision: object = None, tell: Callable[[str], None] = lambda _: None) -> Accelerator:
    """The GPU if there is one, else the CPU.

    Args:
        precision: One of `PRECISIONS` to have it whatever the device; None chooses: mixed on a
            GPU, whose half-precision units are several times faster, full on a CPU, which has none.
        tell: Called with a line for the user, once for every device in a process.

    Raises:
        ValueError: There is no such precision.
    """
    gpu = _first_gpu()
    chosen = precision or (HALF if gpu else FULL)
    if chosen not in PRECISIONS:
        raise ValueError(f"unknown precision {chosen!r}: choose one of {', '.join(PRECISIONS)}")
    found = Accelerator(gpu or "the CPU", str(chosen))
    line = f"networks learn on {found.name}" + (
        "" if found.precision == FULL else f", in mixed precision ({found.precision})"
    )
    if line not in _told:
        _told.add(line)
        tell(line)
    return found
