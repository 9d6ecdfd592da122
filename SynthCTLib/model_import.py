"""From checkpoints as released to the files that the engine loads: checked, stripped, stored as safetensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from SynthCTLib.cards import ModelCard
from SynthCTLib.checkpoint import SCALE_FACTOR, Checkpoint, check_state, closest_part, read_checkpoint
from SynthCTLib.errors import ModelError
from SynthCTLib.model_files import make_folder, sha256_of, write_weights
from SynthCTLib.networks import network_shapes
from SynthCTLib.progress import Progress


@dataclass(frozen=True)
class _Source:
    """A file that has been read and found to be ``part`` of the model."""

    path: Path
    part: str
    checkpoint: Checkpoint
    scale_factor: float | None
    sha256: str


def import_parts(
    card: ModelCard,
    folder: Path,
    files: Iterable[str | Path],
    imported: Mapping[str, Any],
    half: bool,
    progress: Progress | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Check ``files`` and store them in ``folder``; nothing is written before all of them have been found good.

    Args:
        imported: what earlier imports recorded, by part; a file that differs from what was imported first is refused.
        half: store 2 bytes a weight.

    Yields:
        Each part and its record as soon as it is stored.

    Raises:
        ModelError: a file is unreadable, unsafe, of another model, given twice, or not the one imported before.
        ResourceError: the disk is too full.
    """
    shapes = {part: network_shapes(part, network["arguments"]) for part, network in card.networks.items()}
    found: dict[str, tuple[Path, Checkpoint]] = {}
    for path in map(Path, files):
        part, checkpoint = _identify(path, card, shapes)
        if part in found:
            raise ModelError(f"{found[part][0].name} and {path.name} are both the {part} of {card.id}; give one.")
        found[part] = path, checkpoint
    if not found:
        raise ModelError(f"No file was given; name the checkpoint files of {card.id}.")
    sources = [_examine(card, part, path, read, imported, progress) for part, (path, read) in found.items()]
    make_folder(folder)
    for source in sources:
        yield source.part, _store(card, folder, source, half, progress)


def _identify(path: Path, card: ModelCard, shapes: Mapping[str, Any]) -> tuple[str, Checkpoint]:
    checkpoint = read_checkpoint(path)
    part = closest_part(checkpoint.state, shapes)
    if part is None:
        raise ModelError(
            f"{path.name} is none of the networks of {card.id} ({', '.join(shapes)}); its first weight is "
            f"'{next(iter(checkpoint.state), 'absent')[:80]}'; check that it is the right file."
        )
    check_state(checkpoint.state, shapes[part], f"{path.name}, taken as the {part} of {card.id},")
    return part, checkpoint


def _examine(
    card: ModelCard,
    part: str,
    path: Path,
    checkpoint: Checkpoint,
    imported: Mapping[str, Any],
    progress: Progress | None,
) -> _Source:
    """Compare the file's hash with the published or the recorded one, and settle the scale factor."""
    scale = None
    if part == "unet":
        scale = card.latent["scale_factor"] or checkpoint.scale_factor
        if scale is None:
            raise ModelError(
                f"{path.name} holds no scale_factor, which {card.id} needs from its diffusion checkpoint; use the "
                "file as it was released."
            )
    sha256 = sha256_of(path, progress)
    published = (card.files[part]["source"] or {}).get("sha256")
    if published and sha256 != published:
        raise ModelError(f"{path.name} is not the {part} published for {card.id} (other SHA-256); get the file again.")
    recorded = imported.get(part, {}).get("source", {}).get("sha256")
    if recorded and sha256 != recorded:
        raise ModelError(
            f"{path.name} differs from the {part} of {card.id} that was imported first (other SHA-256); if the new "
            f"file is the right one, run 'synthct models remove {card.id}' and import all files again."
        )
    return _Source(path, part, checkpoint, scale, sha256)


def _store(card: ModelCard, folder: Path, source: _Source, half: bool, progress: Progress | None) -> dict[str, Any]:
    """Write one part and return its record."""
    target = folder / card.files[source.part]["name"]
    metadata = {"card": card.id, "part": source.part, "source": source.path.name, "source_sha256": source.sha256}
    if source.scale_factor is not None:
        metadata[SCALE_FACTOR] = repr(source.scale_factor)
    if progress is not None:
        progress.step(f"store {target.name}", 0, 1)
    sha256 = write_weights(target, source.checkpoint.state, half, metadata, progress)
    return {
        "name": target.name,
        "sha256": sha256,
        "bytes": target.stat().st_size,
        "half": half,
        "imported": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": {"name": source.path.name, "sha256": source.sha256, "bytes": source.path.stat().st_size},
    }
