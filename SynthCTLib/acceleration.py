"""Makes MONAI's networks fast on the device that they are on; weights and results stay the same but for rounding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.blocks.selfattention import SABlock
from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock
from torch import nn

from SynthCTLib.autoencoder_layers import plain_convolution
from SynthCTLib.device import cpu_has
from SynthCTLib.few_voxels import FewVoxelsConv3d, suits
from SynthCTLib.winograd_layer import WinogradConv3d

WIDEST = 256
"""Channels up to which doubling and convolving become one layer.

At 512 channels the larger kernel would cost 33 MB more in half precision, and in small volumes, where reading it takes
longer than multiplying with it, twice the time.
"""


class AveragePool(nn.AvgPool3d):
    """Average pooling that also works in bfloat16 on the CPU, for which PyTorch has no kernel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Computed in float32, like the sums inside of other kernels."""
        return super().forward(x.float()).to(x.dtype)


class DoubleAndConvolve(nn.Module):
    """Nearest-neighbor doubling and the convolution behind it as one transposed convolution: 8/27 of the work.

    Of the three voxels that a kernel meets along an axis, two are copies of one. For weights w of the convolution,
    even and odd outputs are w0·in[j−1] + (w1+w2)·in[j] and (w0+w1)·in[j] + w2·in[j+1]: a transposed convolution with
    kernel (w2, w1+w2, w0+w1, w0), stride 2 and one voxel of padding.
    """

    def __init__(self, conv: nn.Conv3d | nn.ConvTranspose3d) -> None:
        super().__init__()
        sums = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], device=conv.weight.device)
        kernel = torch.einsum("ai,bj,ck,oxijk->xoabc", sums, sums, sums, conv.weight.float())
        self.weight = nn.Parameter(kernel.to(conv.weight), requires_grad=False)
        self.bias = conv.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, C, x, y, z) → (1, C', 2x, 2y, 2z)."""
        return F.conv_transpose3d(x, self.weight, self.bias, stride=2, padding=1)


class DoublingBlock(DiffusionUNetResnetBlock):
    """MONAI's residual block that doubles the grid, with :class:`DoubleAndConvolve` as its first convolution."""

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        """(1, C, x, y, z) and time embedding → (1, C', 2x, 2y, 2z)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(F.silu(emb))[:, :, None, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        assert self.upsample is not None
        doubled: torch.Tensor = self.upsample(self.skip_connection(x)) + h
        return doubled


def accelerate(network: nn.Module) -> nn.Module:
    """Choose attention, memory layout and pooling for the network's device and number format; changes it in place.

    * Scaled-dot-product attention: the matrix of all pairs of positions is never stored. For a CT of 512³ that matrix
      has 32768² entries per head. MONAI offers it for CUDA alone; its parameters are the same.
    * Weights channels last in half precision: oneDNN's and cuDNN's tiles read it without reordering. The denoiser in
      float32 on the CPU was a fifth slower with it.
    * Doubling and the convolution behind it as one: a tenth less time for a step.
    * In float32 on the CPU, convolutions by Winograd's method where it is faster.
    * In half precision on a CPU without AMX, where it was measured, wide layers on few voxels as one product. The
      autoencoder's layers are not called, :mod:`SynthCTLib.convolution` takes their weights.
    """
    first = next(network.parameters())
    half = first.dtype is not torch.float32
    on_cpu = first.device.type == "cpu"
    as_products = half and on_cpu and not cpu_has("amx_bf16")
    for module in network.modules():
        if isinstance(module, SABlock):
            module.use_flash_attention = True
        if half and type(module) is nn.AvgPool3d:
            module.__class__ = AveragePool
        if as_products and suits(module):
            module.__class__ = FewVoxelsConv3d
        if not half and on_cpu and type(module) is nn.Conv3d:
            module.__class__ = WinogradConv3d
        if type(module) is DiffusionUNetResnetBlock and module.upsample is not None and _narrow(module):
            module.conv1 = DoubleAndConvolve(plain_convolution(module.conv1))  # type: ignore[assignment]
            module.__class__ = DoublingBlock
    return network.to(memory_format=torch.channels_last_3d) if half else network  # type: ignore[call-overload]


def _narrow(block: DiffusionUNetResnetBlock) -> bool:
    return plain_convolution(block.conv1).in_channels <= WIDEST
