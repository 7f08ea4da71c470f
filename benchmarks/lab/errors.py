"""What can go wrong in the lab.

LabError
├── PlanError        a session plan that is malformed, unsafe or would label traffic wrongly
├── PreflightError   this machine lacks something; the sentence names the remedy
├── RecordingError   a program in the lab failed in a way that spoils the recording
└── CaptureError     a recording that cannot be read
"""


class LabError(Exception):
    """Base of everything the lab raises on purpose."""


class PlanError(LabError):
    """A session plan is malformed, unsafe, or would label benign flows as attacks."""


class PreflightError(LabError):
    """The machine cannot run the lab; the message names the remedy."""


class RecordingError(LabError):
    """A recording went wrong and was given up."""


class CaptureError(LabError):
    """A capture file cannot be read."""
