"""Latent → image through the decoder, in one piece where memory allows and in overlapping tiles where not.

:func:`decode_latent` is the whole interface; how it cuts and joins is its own business. Tiles overlap by a quarter of
their side and are joined with linear weights, which add up to 1 in every voxel. Each tile has its own GroupNorm
statistics, as in the reference, so that tiles differ slightly from the whole.
"""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi, MaisiUpsample

from SynthCTLib.device import device_and_dtype, free_memory, is_out_of_memory
from SynthCTLib.errors import ModelError, ResourceError
from SynthCTLib.progress import Progress

STAGE = "decode"
MINIMUM_TILE = 8
"""Side in latent voxels below which halving the tile does not go on; a smaller one would be nearly all border."""

MEMORY_SHARE = 0.6
"""Share of the free memory that the activations of one tile may take; the rest is for allocator and other programs."""

COPIES = 5
"""Float32 copies of the widest full-resolution activation alive at once: input, norm (list and joined), convolution.

Measured on the CPU, peak resident memory over that activation: 4.2 (widths 16-32-64, 96³ image), 4.1 (32-64-64, 80³).
"""


def decode_latent(
    autoencoder: AutoencoderKlMaisi,
    latent: torch.Tensor,
    scale_factor: float,
    *,
    tile: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Decode a latent.

    Args:
        autoencoder: in eval mode; its device and number format are used.
        latent: (1, channels, x, y, z) as sampled, any device.
        scale_factor: what the latent was multiplied by before diffusion; it is divided by it here.
        tile: side of the tiles in latent voxels; None: as large as the free memory allows, at best the whole.
        progress: told after each tile (stage "decode"); cancels between tiles.

    Returns:
        (X, Y, Z) float32 in [0, 1], X = x · downsampling.

    When memory runs out the tile is halved and decoding starts again. Raises ResourceError if even the smallest tile is
    too large, ModelError if the decoder gives a size that is not a whole multiple of the latent's, Cancelled.
    """
    progress = progress or Progress()
    size = tuple(latent.shape[2:])
    side = min(max(tile or _affordable_tile(autoencoder, size), 1), max(size))
    while True:
        try:
            return _decode_tiles(autoencoder, latent, scale_factor, side, progress)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if side <= MINIMUM_TILE:
                raise ResourceError(
                    "Memory does not suffice to decode the image even in small tiles; use a smaller --size, close "
                    "other programs or choose --device cpu."
                ) from error
        # Outside of the handler, whose traceback keeps the failed tile's tensors alive.
        side = max(MINIMUM_TILE, side // 2)
        _release_cached(device_and_dtype(autoencoder)[0])


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


def _affordable_tile(autoencoder: AutoencoderKlMaisi, size: tuple[int, ...]) -> int:
    """Largest side whose activations fit the free memory; the volume's longest side if the whole fits.

    The widest activation at full resolution is the output of the last upsampling.
    """
    device, _ = device_and_dtype(autoencoder)
    up = _upsampling(autoencoder)
    width = next(_upsamplings(autoencoder)[-1].parameters()).shape[0]
    budget = free_memory(device) * MEMORY_SHARE
    if device.type == "cpu":
        budget -= 4 * up**3 * int(np.prod(size))
    voxels = budget / (COPIES * 4 * width * up**3)
    side = max(size)
    while side > MINIMUM_TILE and np.prod([min(side, n) for n in size]) > voxels:
        side -= 1
    return side


def _release_cached(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
