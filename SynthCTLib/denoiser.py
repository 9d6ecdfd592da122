"""One evaluation of the denoiser: ControlNet + U-Net, with all that does not depend on the step computed once.

The networks are MONAI's (``ControlNetMaisi``, ``DiffusionModelUNetMaisi``); only the order of calls is ours: the
conditioning embedding is an input (from ``embedding.embed_labels``, or with gradients from :func:`embed_mask`), and
residuals are added out of place, so that both networks can be trained together. MONAI adds them in place, which also
changes the input of the middle block, because the last skip tensor *is* that input; this aliasing is kept, since
weights were trained with it.
"""

from __future__ import annotations

import torch
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi

Residuals = tuple[list[torch.Tensor], torch.Tensor]


def embed_mask(controlnet: ControlNetMaisi, mask_channels: torch.Tensor) -> torch.Tensor:
    """ControlNet's conditioning embedding: (N, C, X, Y, Z) → (N, width, X/4, Y/4, Z/4); independent of the step."""
    return controlnet.controlnet_cond_embedding(mask_channels)


def control_residuals(
    controlnet: ControlNetMaisi,
    x: torch.Tensor,
    timesteps: torch.Tensor,
    embedding: torch.Tensor,
    class_labels: torch.Tensor | None = None,
) -> Residuals:
    """What ``ControlNetMaisi.forward`` returns, from an embedding that was computed before."""
    emb = controlnet._prepare_time_and_class_embedding(x, timesteps, class_labels)
    h = controlnet._apply_initial_convolution(x) + embedding
    skips, h = controlnet._apply_down_blocks(emb, None, h)
    h = controlnet._apply_mid_block(emb, None, h)
    return controlnet._apply_controlnet_blocks(h, skips)


def predict(
    unet: DiffusionModelUNetMaisi,
    x: torch.Tensor,
    timesteps: torch.Tensor,
    residuals: Residuals | None = None,
    spacing: torch.Tensor | None = None,
    class_labels: torch.Tensor | None = None,
    top_region: torch.Tensor | None = None,
    bottom_region: torch.Tensor | None = None,
) -> torch.Tensor:
    """What ``DiffusionModelUNetMaisi.forward`` returns, without changing any tensor in place.

    Args:
        x: (N, 4, X/4, Y/4, Z/4) noisy latent.
        timesteps: (N,) in 0-1000.
        residuals: from :func:`control_residuals`; None runs the U-Net alone.
        spacing: (N, 3), mm × 100. class_labels: (N,) modality. top_region, bottom_region: (N, 4) one-hot × 100.
    """
    emb = unet._get_time_and_class_embedding(x, timesteps, class_labels)
    emb = unet._get_input_embeddings(emb, top_region, bottom_region, spacing)
    h, skips = unet._apply_down_blocks(unet.conv_in(x), emb, None, None)
    if residuals is not None:
        skips = [skip + residual for skip, residual in zip(skips, residuals[0], strict=True)]
        h = skips[-1]
    h = unet.middle_block(h, emb, None)
    if residuals is not None:
        h = h + residuals[1]
    h = unet._apply_up_blocks(h, emb, None, skips)
    return unet.out(h)
