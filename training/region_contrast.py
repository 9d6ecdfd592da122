"""MAISI-v2's region-specific contrastive loss (arXiv 2508.05772, section "Region-specific Contrastive Loss").

Two predictions G from the same noisy latent: with the mask c, and with c' in which a region m (tumors) has been
replaced by what is around it. Inside m they must differ, outside of its neighborhood they must agree:

    D_roi = mean over m of |G(x_t, c) − G(x_t, c')|        L_roi = −min(D_roi, δ),  δ = 2
    m⁻    = 1 − dilate(m)
    L_bg  = mean over m⁻ of |G(x_t, c) − G(x_t, c')|       L = L_flow + λ (L_roi + L_bg)

δ keeps the first term from growing without end; λ is 0.01 at first and 0.001 later. The released code differs in the
second term (``variant = "released"``): it compares G(x_t, c') with the target of the regression, not with G(x_t, c).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from SynthCTLib.errors import InputError
from training.schedule import staged


@dataclass(frozen=True)
class ContrastSettings:
    """``weights``: [[from step, λ], …]; empty leaves the loss out. ``labels``: names of the structures in m.

    ``delta``: δ. ``dilation``: width in voxels of the mask of the cube that dilates m (odd; 3 in the released code).
    """

    weights: tuple[tuple[int, float], ...] = ()
    labels: tuple[str, ...] = ()
    delta: float = 2.0
    dilation: int = 3
    variant: str = "paper"

    def __post_init__(self) -> None:
        if self.dilation % 2 == 0:
            raise InputError(f"contrast.dilation is {self.dilation}; give an odd number of voxels.")
        if self.weights and not self.labels:
            raise InputError("contrast.weights needs contrast.labels: the structures that must make a difference.")

    def weight_at(self, step: int) -> float:
        """λ at a step."""
        return float(staged(step, ((0, 0.0), *self.weights)))


def region_contrast(
    output: torch.Tensor,
    without: torch.Tensor,
    target: torch.Tensor,
    region: torch.Tensor,
    settings: ContrastSettings,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(L_roi, L_bg), both scalars, and both 0 where no latent voxel lies in the region.

    Args:
        output, without: (N, C, x, y, z) predictions with the mask and with the region taken out of it.
        target: (N, C, x, y, z) target of the regression, used by the released variant.
        region: (N, 4x, 4y, 4z) bool, m on the grid of the mask.
    """
    size = output.shape[2:]
    inside = F.interpolate(region.float()[:, None], size=size, mode="nearest")
    if not inside.any():
        return output.sum() * 0.0, output.sum() * 0.0
    near = F.max_pool3d(region.float()[:, None], settings.dilation, stride=1, padding=settings.dilation // 2)
    outside = 1 - F.interpolate(near, size=size, mode="nearest")
    reference = output if settings.variant == "paper" else target
    difference = _masked_mean((output.float() - without.float()).abs(), inside)
    background = _masked_mean((without.float() - reference.float()).abs(), outside)
    return -difference.clamp_max(settings.delta), background


def _masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of ``values`` (N, C, …) where ``mask`` (N, 1, …) is 1."""
    return (values * mask).sum() / (mask.sum() * values.shape[1]).clamp_min(1)
