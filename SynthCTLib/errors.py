"""What can go wrong, said in one sentence that names the problem and what to do; each kind has its exit code."""

from __future__ import annotations


class SynthCTError(Exception):
    """Base of all expected failures. ``str(error)`` is the sentence shown to the user, never a traceback."""

    exit_code = 1
    kind = "error"


class InputError(SynthCTError):
    """The segmentation, job or argument cannot be used as it is."""

    exit_code = 2
    kind = "input"


class AmbiguousInputError(InputError):
    """More than one reading of the input is possible; the user has to choose one of ``choices``.

    ``setting`` is the setting of the job that takes the choice: ``labels`` or ``region``.
    """

    kind = "ambiguous"

    def __init__(self, message: str, setting: str, choices: list[str]) -> None:
        super().__init__(message)
        self.setting = setting
        self.choices = choices


class ModelError(SynthCTError):
    """A model is missing, incomplete, damaged or not what its card says."""

    exit_code = 3
    kind = "model"


class ResourceError(SynthCTError):
    """Not enough memory, disk or device."""

    exit_code = 4
    kind = "resource"


class Cancelled(SynthCTError):
    """The user cancelled; nothing was left behind."""

    exit_code = 130
    kind = "cancelled"
