"""Files of models on disk: hash, free space, and writing that leaves a complete file or none."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SynthCTLib.errors import ModelError, ResourceError
from SynthCTLib.progress import Progress

if TYPE_CHECKING:
    import torch

MEGABYTE = 1_000_000
BLOCK = 4 * MEGABYTE
RESERVE = 50 * MEGABYTE  # a disk filled to the last byte breaks other programs


def sha256_of(path: Path, progress: Progress | None = None) -> str:
    """SHA-256 of a file, in hexadecimal; progress counts megabytes."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    done = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress.step(f"check {path.name.removesuffix('.part')}", done // MEGABYTE, max(1, size // MEGABYTE))
    return digest.hexdigest()


def require_space(folder: Path, needed: int) -> None:
    """Raise ResourceError unless ``needed`` bytes and a reserve are free where ``folder`` lies."""
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE:
        raise ResourceError(
            f"{(needed + RESERVE) / 1e9:.2f} GB are needed in {folder} and {free / 1e9:.2f} GB are free; free some "
            "space or set SYNTHCT_MODELS to a folder on another disk."
        )


def make_folder(folder: Path) -> None:
    """Create ``folder``; raise ModelError where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"The models folder {folder} cannot be created ({error.strerror}); set SYNTHCT_MODELS to one you can write."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, complete or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one if the file is absent or damaged (then its content has to be made anew)."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_weights(
    path: Path,
    state: dict[str, torch.Tensor],
    half: bool,
    metadata: dict[str, str],
    progress: Progress | None = None,
) -> str:
    """Write weights as safetensors, complete or not at all; ``half`` stores 2 bytes a number.

    Returns:
        SHA-256 of the file; it appears under its name only when this is known, so no cancel leaves it unrecorded.

    Raises:
        Cancelled: nothing was written.
        ModelError: a weight is not finite, or too large for half precision.
        ResourceError: not enough space on the disk.
    """
    import torch  # here, so that hashing and listing models does not load PyTorch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    require_space(path.parent, sum(v.numel() * (2 if half else v.element_size()) for v in state.values()))
    weights = {key: (value.half() if half else value).contiguous() for key, value in state.items()}
    broken = next((key for key, value in weights.items() if not torch.isfinite(value).all()), None)
    if broken is not None:
        advice = "import it without half precision, or get the file again" if half else "get the file again"
        raise ModelError(f"The weight {broken} for {path.name} holds values that are no finite numbers; {advice}.")
    part = path.with_name(path.name + ".part")
    try:
        save_file(weights, part, metadata={"format": "pt", **metadata})
        sha256 = sha256_of(part, progress)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be written ({error}); check the folder and its permissions.") from error
    finally:
        part.unlink(missing_ok=True)
    return sha256
