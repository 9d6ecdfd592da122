"""The two critics of the VQ-GAN: one sees a random slice (2D), one the whole volume (3D); pix2pixHD's PatchGAN."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.nets import PatchDiscriminator
from torch import nn

Features = list[torch.Tensor]
"""Output of each layer; the last one is the verdict on each patch."""


class Discriminators(nn.Module):
    """Slice and volume discriminator of Ge et al. (TATS, 2204.03638), as Medical Diffusion uses them."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.slice, self.volume = (
            PatchDiscriminator(
                spatial_dims=dims, channels=channels, in_channels=1, num_layers_d=layers, norm="INSTANCE"
            )
            for dims in (2, 3)
        )

    def forward(self, volume: torch.Tensor, slices: torch.Tensor) -> tuple[Features, Features]:
        """Features of the slice (N, 1, H, W) and of the volume (N, 1, D, H, W)."""
        return self.slice(slices), self.volume(volume)


def hinge_loss(real: tuple[Features, Features], fake: tuple[Features, Features]) -> torch.Tensor:
    """Loss of both critics: 0.5·(max(0, 1 − D(x)) + max(0, 1 + D(x̂))), mean over patches, summed over critics."""
    losses = [0.5 * (F.relu(1 - r[-1]).mean() + F.relu(1 + f[-1]).mean()) for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).sum()


def generator_loss(fake: tuple[Features, Features]) -> torch.Tensor:
    """−D(x̂), mean over patches, summed over critics."""
    return torch.stack([-f[-1].mean() for f in fake]).sum()


def feature_matching(real: tuple[Features, Features], fake: tuple[Features, Features]) -> torch.Tensor:
    """Mean L1 of each layer's features but the verdict, summed over layers and critics (pix2pixHD, equation 4)."""
    pairs = [pair for r, f in zip(real, fake, strict=True) for pair in zip(r[:-1], f[:-1], strict=True)]
    return torch.stack([F.l1_loss(f, r.detach()) for r, f in pairs]).sum()


def adaptive_weight(
    reconstruction: torch.Tensor, adversarial: torch.Tensor, last: torch.Tensor, largest: float
) -> torch.Tensor:
    """λ = |∇ L_rec| / (|∇ L_GAN| + δ) at the decoder's ``last`` weight (Esser et al., 2012.09841, equation 7)."""
    of_rec, of_gan = (torch.autograd.grad(loss, last, retain_graph=True)[0] for loss in (reconstruction, adversarial))
    return (of_rec.norm() / (of_gan.norm() + 1e-4)).clamp(max=largest).detach()
