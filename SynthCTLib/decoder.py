"""Latent → image through the decoder, in one piece where memory allows and in overlapping tiles where not.

:func:`decode` is the whole interface; how it cuts and joins is its own business. Tiles overlap by a quarter of their
side and are joined with linear weights, which add up to 1 in every voxel. Each tile has its own GroupNorm statistics,
as in the reference, so that tiles differ slightly from the whole. The side therefore depends on the machine and not on
what else runs on it: it is chosen by the memory in all, and changed only when memory really runs out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from typing import Any

import numpy as np
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi, MaisiUpsample

from SynthCTLib.device import device_and_dtype, free_memory, is_out_of_memory, total_memory
from SynthCTLib.errors import ModelError, ResourceError
from SynthCTLib.progress import Progress

STAGE = "decode"
MINIMUM_TILE = 8
"""Side in latent voxels below which halving the tile does not go on; a smaller one would be nearly all border."""

MEMORY_SHARE = 0.4
"""Share of a device's memory that the activations of one tile may take; the rest is for weights and other programs."""

COPIES = 5
"""Float32 copies of the widest full-resolution activation alive at once: input, norm (list and joined), convolution.

Measured on the CPU, peak resident memory over that activation: 4.2 (widths 16-32-64, 96³ image), 4.1 (32-64-64, 80³).
"""


@dataclass(frozen=True)
class Decoded:
    """A decoded image and how it was cut.

    ``unit``: (X, Y, Z) float32 in [0, 1], X = x · downsampling. ``tile``: side of the tiles in latent voxels, the
    latent's longest side for a single piece. ``wanted``: the side before memory ran out.
    """

    unit: np.ndarray
    tile: int
    wanted: int

    def how(self) -> dict[str, Any]:
        """How it was cut, as plain values for the report."""
        return {"tile": self.tile, "wanted": self.wanted, "halved": self.tile < self.wanted}


def decode_latent(
    autoencoder: AutoencoderKlMaisi,
    latent: torch.Tensor,
    scale_factor: float,
    *,
    tile: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """The image alone, (X, Y, Z) float32 in [0, 1], of :func:`decode`."""
    return decode(autoencoder, latent, scale_factor, tile=tile, progress=progress).unit


def decode(
    autoencoder: AutoencoderKlMaisi,
    latent: torch.Tensor,
    scale_factor: float,
    *,
    tile: int | None = None,
    progress: Progress | None = None,
) -> Decoded:
    """Decode a latent.

    Args:
        autoencoder: in eval mode; its device and number format are used.
        latent: (1, channels, x, y, z) as sampled, any device.
        scale_factor: what the latent was multiplied by before diffusion; it is divided by it here.
        tile: side of the tiles in latent voxels; None: as :func:`choose_tile` says.
        progress: told after each tile (stage "decode"); cancels between tiles.

    When memory runs out the tile is halved and decoding starts again. Raises ResourceError if even the smallest tile is
    too large, ModelError if the decoder gives a size that is not a whole multiple of the latent's, Cancelled.
    """
    progress = progress or Progress()
    size = tuple(latent.shape[2:])
    wanted = min(max(tile or choose_tile(autoencoder, size), 1), max(size))
    side = _side_that_fits(autoencoder, size, wanted)
    while True:
        try:
            return Decoded(_decode_tiles(autoencoder, latent, scale_factor, side, progress), side, wanted)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if side <= MINIMUM_TILE:
                raise ResourceError(
                    "Memory does not suffice to decode the image even in small tiles; use a smaller --size, close "
                    "other programs or choose --device cpu."
                ) from error
        # Outside of the handler, whose traceback keeps the failed tile's tensors alive.
        side = _halved(side)
        _release_cached(device_and_dtype(autoencoder)[0])


def choose_tile(autoencoder: AutoencoderKlMaisi, size: tuple[int, ...]) -> int:
    """Largest side in latent voxels whose activations fit the device; the longest of ``size`` (x, y, z) if all fits.

    The same on one machine and device, whatever else is in its memory.
    """
    device, _ = device_and_dtype(autoencoder)
    budget = total_memory(device) * MEMORY_SHARE
    side = max(size)
    while side > MINIMUM_TILE and _bytes_needed(autoencoder, size, side) > budget:
        side -= 1
    return side


def tile_starts(size: int, side: int) -> list[int]:
    """First voxels of evenly spaced tiles that cover 0…size−1 and overlap by at least a quarter of ``side``."""
    if side >= size:
        return [0]
    stride = max(1, side - max(1, side // 4))
    count = -(-(size - side) // stride) + 1
    return [round(index * (size - side) / (count - 1)) for index in range(count)]


def tile_weights(starts: list[int], side: int) -> np.ndarray:
    """Weights along one axis, (tiles, side) float32: rising from both ends, adding up to 1 wherever tiles overlap."""
    position = np.arange(side) + 0.5
    overlap = max([side - (b - a) for a, b in pairwise(starts)], default=side)
    ramp = np.minimum(np.minimum(position, side - position), max(1, overlap))
    total = np.zeros(starts[-1] + side)
    for start in starts:
        total[start : start + side] += ramp
    return np.stack([ramp / total[start : start + side] for start in starts]).astype(np.float32)


def _decode_tiles(
    autoencoder: AutoencoderKlMaisi, latent: torch.Tensor, scale_factor: float, side: int, progress: Progress
) -> np.ndarray:
    size = tuple(latent.shape[2:])
    up = _upsampling(autoencoder)
    image = np.zeros([up * n for n in size], np.float32)
    sides = [min(side, n) for n in size]
    starts = [tile_starts(n, s) for n, s in zip(size, sides, strict=True)]
    weights = [tile_weights([up * a for a in axis], up * s) for axis, s in zip(starts, sides, strict=True)]
    tiles = list(product(*(range(len(axis)) for axis in starts)))
    progress.step(STAGE, 0, len(tiles))
    for done, index in enumerate(tiles, 1):
        first = [axis[i] for axis, i in zip(starts, index, strict=True)]
        window = tuple(slice(a, a + s) for a, s in zip(first, sides, strict=True))
        target = image[tuple(slice(up * w.start, up * w.stop) for w in window)]
        tile = _decode_one(autoencoder, latent[(slice(None), slice(None), *window)], scale_factor)
        if tile.shape != target.shape:
            raise ModelError(
                f"The decoder makes {tile.shape} voxels where {target.shape} are due; set num_splits to 1 in the "
                "autoencoder's arguments of the model card."
            )
        if len(tiles) == 1:
            image = tile
        else:
            x, y, z = (axis[i] for axis, i in zip(weights, index, strict=True))
            tile *= x[:, None, None]
            tile *= y[:, None]
            tile *= z
            target += tile
        progress.step(STAGE, done, len(tiles))
    return np.clip(image, 0.0, 1.0, out=image)


def _decode_one(autoencoder: AutoencoderKlMaisi, latent: torch.Tensor, scale_factor: float) -> np.ndarray:
    device, dtype = device_and_dtype(autoencoder)
    # MONAI's MaisiGroupNorm3D gives float32 whatever it gets; mixed precision lets half-precision convolutions take it.
    mixed = torch.autocast(device.type, dtype=dtype, enabled=dtype is not torch.float32)
    with torch.inference_mode(), mixed:
        # Divided in float32: a half-precision latent could overflow for small scale factors.
        decoded = autoencoder.decode((latent.to(device, torch.float32) / scale_factor).to(dtype))
        return decoded[0, 0].to("cpu", torch.float32).numpy()


def _upsampling(autoencoder: AutoencoderKlMaisi) -> int:
    return int(2 ** len(_upsamplings(autoencoder)))


def _upsamplings(autoencoder: AutoencoderKlMaisi) -> list[MaisiUpsample]:
    return [module for module in autoencoder.decoder.modules() if isinstance(module, MaisiUpsample)]


def _bytes_needed(autoencoder: AutoencoderKlMaisi, size: tuple[int, ...], side: int) -> int:
    """Memory that one tile takes at once on the device; on the CPU the image is there, too.

    The widest activation at full resolution is the output of the last upsampling.
    """
    up = _upsampling(autoencoder)
    width = next(_upsamplings(autoencoder)[-1].parameters()).shape[0]
    tile = COPIES * width * prod(min(side, n) for n in size)
    image = prod(size) if device_and_dtype(autoencoder)[0].type == "cpu" else 0
    return 4 * up**3 * (tile + image)


def _side_that_fits(autoencoder: AutoencoderKlMaisi, size: tuple[int, ...], side: int) -> int:
    """``side``, halved while a tile does not fit the CPU's free memory.

    Other devices say when memory runs out; an operating system may swap for hours or kill the process instead.
    """
    device, _ = device_and_dtype(autoencoder)
    if device.type == "cpu":
        while side > MINIMUM_TILE and _bytes_needed(autoencoder, size, side) > free_memory(device):
            side = _halved(side)
    return side


def _halved(side: int) -> int:
    return max(MINIMUM_TILE, side // 2)


def _release_cached(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
