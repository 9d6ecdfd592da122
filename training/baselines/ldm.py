"""Plain latent diffusion (Rombach et al., CVPR 2022) with MONAI's AutoencoderKL and DiffusionModelUNet.

The autoencoder learns from L1 and KL alone: a perceptual network is not part of the comparison, and a discriminator
does not pay within minutes.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from monai.networks.nets.autoencoderkl import AutoencoderKL

from training.autoencoder_loss import kl_divergence
from training.baselines.fit import descend, fit, normal
from training.baselines.method import Trained, Work
from training.baselines.noise_prediction import NoisePrediction, build_unet, sample
from training.config import Config
from training.scans import Scan


class Autoencoding:
    """Phase of training: reconstruction of whole volumes."""

    name = "ldm-autoencoder"
    constant_rate = False

    def __init__(self, network: AutoencoderKL, work: Work, settings: Config) -> None:
        self.network, self.volumes, self.kl = network, work.volumes, settings["kl"]
        self.batch = settings["batch"]
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(network.parameters(), lr=settings["lr"])]

    def step(self, rng: np.random.Generator) -> dict[str, float]:
        """One update."""
        x, _ = self.volumes.draw(rng, self.batch)
        mu, sigma = self.network.encode(x)
        error = F.l1_loss(self.network.decode(mu + sigma * normal(rng, tuple(mu.shape), mu.device)), x)
        descend(self.network, self.optimizers[0], error + self.kl * kl_divergence(mu, sigma))
        return {"l1": error.item()}


@torch.inference_mode()
def encode_all(network: torch.nn.Module, volumes: torch.Tensor) -> torch.Tensor:
    """(n, c, x, y, z) means of the latents of (n, 1, X, Y, Z)."""
    return torch.cat([network.encode(volume[None])[0] for volume in volumes])  # type: ignore[operator]


def train_ldm(work: Work) -> Trained:
    """Autoencoder, latents, U-Net; making the latents counts for neither."""
    s = work.settings
    autoencoder = AutoencoderKL(spatial_dims=3, **s["autoencoder"]["network"]).to(work.device)
    share = s["autoencoder"]["share"]
    first = fit(Autoencoding(autoencoder, work, s["autoencoder"]), work, share * work.seconds)
    latents = encode_all(autoencoder, work.volumes.unit)
    scale = float(1 / latents.std())
    latents = latents.clone() * scale
    unet = build_unet(s["unet"], work.device)

    def draw(rng: np.random.Generator) -> torch.Tensor:
        return latents[torch.from_numpy(rng.choice(len(latents), s["batch"], replace=False))]

    phase = NoisePrediction("ldm", unet, draw, s["scheduler"], s["lr"])
    second = fit(phase, work, (1 - share) * work.seconds)

    @torch.inference_mode()
    def make(_: Scan, seed: int) -> torch.Tensor:
        noise = normal(np.random.default_rng([work.seed, seed]), (1, *latents.shape[1:]), work.device)
        return autoencoder.decode(sample(unet, noise, s["steps"], s["scheduler"]) / scale)[0, 0]

    return Trained(make, {"autoencoder": first, "unet": second})
