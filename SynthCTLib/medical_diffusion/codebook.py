"""The codebook of the VQ-GAN: nearest code and the range of its values (Medical Diffusion, "Put it all together").

Works in float32 whatever the precision around it: in half precision the distances overflow or tie.
"""

from __future__ import annotations

import torch
from torch import nn

CHUNK_BYTES = 64 * 2**20
"""Memory that the matrix of distances may take at once; 16384 codes: 1024 vectors, whatever the volume."""


class Codebook(nn.Module):
    """``codes`` (size, channels) float32, a buffer: moved by averages (:mod:`training`), never by a gradient."""

    codes: torch.Tensor

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(size, channels))

    def nearest(self, latent: torch.Tensor) -> torch.Tensor:
        """Index of the nearest code (Euclidean) of each vector of ``latent`` (N, channels, D, H, W) → (N, D, H, W)."""
        vectors = latent.detach().float().movedim(1, -1)
        flat = vectors.reshape(-1, vectors.shape[-1])
        codes = self.codes.float()
        rows = max(1, CHUNK_BYTES // (4 * codes.shape[0]))
        with torch.autocast(latent.device.type, enabled=False):
            half_norms = 0.5 * codes.square().sum(1)
            # |z - e|² = |z|² - 2(z·e - |e|²/2), and |z|² is the same for all codes.
            found = [(part @ codes.T - half_norms).argmax(1) for part in flat.split(rows)]
        return torch.cat(found).reshape(vectors.shape[:-1])

    def lookup(self, indices: torch.Tensor) -> torch.Tensor:
        """Codes of ``indices`` (N, D, H, W) → (N, channels, D, H, W) float32."""
        return self.codes.float()[indices].movedim(-1, 1)

    def quantize(self, latent: torch.Tensor) -> torch.Tensor:
        """Each vector of ``latent`` (N, channels, D, H, W) replaced by its nearest code, float32."""
        return self.lookup(self.nearest(latent))

    def range(self) -> tuple[float, float]:
        """Smallest and largest value of all codes, which stand for those of the unquantized latents."""
        return float(self.codes.min()), float(self.codes.max())


def to_unit(latent: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Unquantized latents → about [−1, 1], from the codebook's range: z' = 2 (z − min) / (max − min) − 1."""
    return 2 * (latent - low) / (high - low) - 1


def from_unit(unit: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """The inverse of :func:`to_unit`."""
    return (unit + 1) / 2 * (high - low) + low
