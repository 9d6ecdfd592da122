"""What the public reference engine does for one CT, built from MONAI's public classes: the baseline.

ControlNet and U-Net are called as wholes in each step, the mask's embedding included; steps are RFlowScheduler's; the
decoder is AutoencoderKlMaisi with its splits, in one piece where a latent fits the window and by SlidingWindowInferer
(Gaussian weights, overlap 0.4) where not. Float32 on the CPU, mixed precision on CUDA, as there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.schedulers import RFlowScheduler

from benchmarks.full_size import SPACING, Clock, noise, random_mask, random_networks
from SynthCTLib.conditioning import encode_mask

WINDOW = (80, 80, 80)
OVERLAP = 0.4
SPLITS: dict[str, object] = {"num_splits": 4, "dim_split": 1}


@torch.inference_mode()
def run(size: tuple[int, ...], steps: int, device_name: str) -> tuple[float, np.ndarray]:
    """Seconds for one CT of ``size`` without loading, and the latent."""
    device = torch.device(device_name)
    card, networks = random_networks(device, torch.float32, **SPLITS, norm_float16=device.type == "cuda")
    mask = torch.from_numpy(random_mask(size))[None]
    x = noise(size).to(device)
    clock = Clock(device)
    with torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda"):
        channels = encode_mask(mask).to(device)
        spacing, kind = torch.tensor([SPACING], device=device) * 100, torch.tensor([1], device=device)
        flow = RFlowScheduler(**card.scheduler)
        voxels: Any = torch.tensor(x[0, 0].numel())
        flow.set_timesteps(steps, input_img_size_numel=voxels)
        following = torch.cat([flow.timesteps[1:], torch.tensor([0.0], dtype=flow.timesteps.dtype)])
        for t, after in zip(flow.timesteps, following, strict=True):
            times = torch.tensor([float(t)], device=device)
            down, middle = networks.controlnet(x=x, timesteps=times, controlnet_cond=channels, class_labels=kind)
            output = networks.unet(
                x=x,
                timesteps=times,
                spacing_tensor=spacing,
                class_labels=kind,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            )
            x, _ = flow.step(output, t, x, after)
        decode(networks.autoencoder, x)
    return clock.look(), x.float().cpu().numpy()


def decode(autoencoder: Any, latent: torch.Tensor) -> torch.Tensor:
    """The image, in one piece or in overlapping windows."""
    if latent[0, 0].numel() <= np.prod(WINDOW):
        image: torch.Tensor = autoencoder.decode(latent)
        return image
    windows = SlidingWindowInferer(
        WINDOW, sw_batch_size=1, mode="gaussian", overlap=OVERLAP, device=torch.device("cpu")
    )
    return windows(latent, autoencoder.decode)  # type: ignore[return-value]
