"""Makes MONAI's networks fast on the device that they are on; weights and results stay the same but for rounding."""

from __future__ import annotations

import torch
from monai.networks.blocks.selfattention import SABlock
from torch import nn


class AveragePool(nn.AvgPool3d):
    """Average pooling that also works in bfloat16 on the CPU, for which PyTorch has no kernel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Computed in float32, like the sums inside of other kernels."""
        return super().forward(x.float()).to(x.dtype)


def accelerate(network: nn.Module) -> nn.Module:
    """Choose attention, memory layout and pooling for the network's device and number format; changes it in place.

    * Scaled-dot-product attention: the matrix of all pairs of positions is never stored. For a CT of 512³ that matrix
      has 32768² entries per head. MONAI offers it for CUDA alone; its parameters are the same.
    * Weights channels last in half precision: oneDNN's and cuDNN's tiles read it without reordering. The denoiser in
      float32 on the CPU was a fifth slower with it.
    """
    half = next(network.parameters()).dtype is not torch.float32
    for module in network.modules():
        if isinstance(module, SABlock):
            module.use_flash_attention = True
        if half and type(module) is nn.AvgPool3d:
            module.__class__ = AveragePool
    return network.to(memory_format=torch.channels_last_3d) if half else network  # type: ignore[call-overload]
