"""The denoiser's convolutions in float32 on the CPU: by Winograd's method (:mod:`winograd`) where it is faster."""

from __future__ import annotations

import torch
from torch import nn

from SynthCTLib import winograd
from SynthCTLib.convolution import has_a_voxel_of_zeros_around

MOST_KEPT = 16 << 20
"""Bytes of a layer's transformed kernels up to which they are kept from step to step; 128 → 128 channels take 14 MB.

Larger ones are transformed each time. At 2048 voxels that takes 0.8 of what the convolution takes directly, whatever
its width (256 → 256 channels to 512 → 512), so at :data:`FEWEST_VOXELS` 0.2.
"""

FEWEST_VOXELS = 8192
"""Voxels from which on it is faster even if the kernels have to be transformed."""


class WinogradConv3d(nn.Conv3d):
    """The same layer as the :class:`torch.nn.Conv3d` that it was; without gradients computed by the faster way."""

    _kernels: torch.Tensor | None = None
    _made_of: tuple[torch.Tensor, int] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, x, y, z) → (N, C', x', y', z'); results of Winograd's method are channels last."""
        if self._is_faster(x):
            kernels = self._transformed()
            size = tuple(x.shape[2:])
            images = [winograd.convolve(one, kernels, self.bias, (1, 1, 1), size, x.dtype) for one in x.split(1)]
            return images[0] if len(images) == 1 else torch.cat(images)
        # With an image that is channels last PyTorch would bring the weights into that order, too, at each call.
        return super().forward(x.contiguous())

    def _is_faster(self, x: torch.Tensor) -> bool:
        size = tuple(x.shape[2:])
        with_gradients = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        if (
            with_gradients
            or x.dtype is not torch.float32
            or torch.is_autocast_enabled("cpu")
            or not has_a_voxel_of_zeros_around(self)
        ):
            return False
        # Each block of tiles has one thread; the convolution shares out to all.
        if torch.get_num_threads() > 2 * winograd.blocks(size):
            return False
        enough = self._is_kept() or x[0, 0].numel() >= FEWEST_VOXELS
        return enough and winograd.suits(self.weight, size)

    def _is_kept(self) -> bool:
        return winograd.kernel_bytes(self.weight) <= MOST_KEPT

    def _transformed(self) -> torch.Tensor:
        weight = self.weight.detach()
        if not self._is_kept() or weight.is_inference():  # changes of inference tensors are not counted
            return winograd.transformed(weight)
        if self._kernels is None or not self._is_of(weight):
            # The weights are kept as well, so that no others can come to lie at the same address.
            self._kernels, self._made_of = winograd.transformed(weight), (weight, weight._version)
        return self._kernels

    def _is_of(self, weight: torch.Tensor) -> bool:
        """Whether the kept kernels were made of these weights, as they are now."""
        if self._made_of is None:
            return False
        made_of, version = self._made_of
        return made_of.data_ptr() == weight.data_ptr() and version == weight._version
