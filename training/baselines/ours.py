"""Our own networks in the comparison: MAISI's, with the starts and losses of our stages, with and without ControlNet.

Autoencoder: principal components of blocks and the decoder that inverts them (:mod:`training.linear_start`), the
decoder trained on. U-Net: rectified flow from the copy start. Conditional: after a short time of the U-Net alone, U-Net
and ControlNet together. Both share one autoencoder, whose seconds count for each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi

from SynthCTLib.conditioning import encode_mask
from SynthCTLib.denoiser import control_residuals, embed_mask, predict
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.networks import build_autoencoder, build_controlnet, build_unet
from SynthCTLib.scheduler import find_solver
from training.autoencoder_loss import ReconstructionLoss
from training.baselines.fit import descend, fit, normal
from training.baselines.ldm import encode_all
from training.baselines.method import Trained, Work
from training.baselines.noise_prediction import last
from training.config import Config
from training.copy_start import copy_start
from training.denoiser_loss import voxel_weights, weighted_loss
from training.denoiser_network import Denoiser, copy_trunk
from training.linear_start import linear_start
from training.model_conditions import condition_tensors, conditioning_of
from training.rectified_flow import RectifiedFlow
from training.scans import Scan
from training.step_draws import torch_draws
from training.times import TimeSettings

START_VOLUMES = 24  # whose blocks give the principal components


class DecoderTraining:
    """Phase of training: the decoder learns to invert the fixed encoder."""

    name = "synthct-autoencoder"
    constant_rate = False

    def __init__(self, network: AutoencoderKlMaisi, work: Work, settings: Config) -> None:
        self.network, self.volumes, self.batch = network, work.volumes, settings["batch"]
        self.loss = ReconstructionLoss({"bone_surface": 0.0, "perceptual": 0.0, **settings["loss"]}, None)
        first, _ = work.volumes.draw(np.random.default_rng(work.seed), min(START_VOLUMES, len(work.volumes.unit)))
        linear_start(network, first)
        for part in (network.encoder, network.quant_conv_mu, network.quant_conv_log_sigma):
            part.requires_grad_(False)
        trained = [p for p in network.parameters() if p.requires_grad]
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(trained, lr=settings["lr"], betas=(0.9, 0.99))]

    def step(self, rng: np.random.Generator) -> dict[str, float]:
        """One update."""
        x, _ = self.volumes.draw(rng, self.batch)
        with torch.no_grad():
            mu, sigma = self.network.encode(x)
        output = self.network.decode(mu + sigma * normal(rng, tuple(mu.shape), mu.device))
        terms = self.loss.image(output, x, rng)
        descend(self.network, self.optimizers[0], torch.stack(list(terms.values())).sum())
        return {name: term.item() for name, term in terms.items()}


class FlowTraining:
    """Phase of training: the velocity of rectified flow, several times of one volume in a step, as in our stages."""

    constant_rate = False

    def __init__(self, name: str, model: Denoiser, latents: torch.Tensor, work: Work) -> None:
        s = work.settings
        self.name, self.network, self.latents, self.work, self.draws = name, model, latents, work, s["draws"]
        self.flow = RectifiedFlow(s["scheduler"], TimeSettings())
        self.conditions = conditions_of(work)
        self.bones = {tuple(load_vocabulary().group_ids("bone")): s["bone_weight"]}
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(model.parameters(), lr=s["lr"], betas=(0.9, 0.99))
        ]

    def step(self, rng: np.random.Generator) -> dict[str, float]:
        """One update."""
        number = int(rng.integers(len(self.latents)))
        latent, mask = self.latents[number : number + 1], self.work.volumes.mask[number : number + 1]
        times = self.flow.draw_times(self.draws, latent[0, 0].numel(), torch_draws(rng)).to(latent.device)
        noise = normal(rng, (self.draws, *latent.shape[1:]), latent.device)
        conditions = {key: value.expand(self.draws, -1) if value.ndim > 1 else value.expand(self.draws)
                      for key, value in self.conditions.items()}  # fmt: skip
        output = self.network(self.flow.noisy(latent, noise, times), times, mask, conditions)
        weights = voxel_weights(mask, self.work.settings["air_weight"], self.bones)
        loss = weighted_loss(output, self.flow.target(latent, noise), weights)
        descend(self.network, self.optimizers[0], loss)
        return {"loss": loss.item()}


def conditions_of(work: Work) -> dict[str, torch.Tensor]:
    """What the U-Net is told of every volume: spacing and that it is CT."""
    conditioning = conditioning_of(work.settings["network"])
    built = condition_tensors(conditioning, work.spacing, None, conditioning["class_label"])
    return {key: value.to(work.device) for key, value in built.items()}


def train_unconditional(work: Work) -> Trained:
    """Autoencoder and U-Net."""
    return _train(work, conditional=False)


def train_conditional(work: Work) -> Trained:
    """Autoencoder, U-Net, then U-Net and ControlNet."""
    return _train(work, conditional=True)


def _train(work: Work, conditional: bool) -> Trained:
    s = work.settings
    autoencoder = build_autoencoder(s["network"]["autoencoder"]).to(work.device)
    phase = DecoderTraining(autoencoder, work, s["autoencoder"])
    share = s["autoencoder"]["share"]
    spent: dict[str, Any] = {"autoencoder": fit(phase, work, share * work.seconds)}
    latents = encode_all(autoencoder, work.volumes.unit)
    scale = float(1 / latents.std())
    latents = latents.clone() * scale
    unet = build_unet(s["network"]["unet"]).to(work.device)
    copy_start(unet, RectifiedFlow.copy_sign)
    prior = conditioning_of(s["network"])["hu_prior"]
    model = Denoiser(_channels_last(unet), None, prior)
    name = "synthct-conditional-unet" if conditional else "synthct-unconditional"
    alone = (s["unet_share"] if conditional else 1 - share) * work.seconds
    spent["unet"] = fit(FlowTraining(name, model, latents, work), work, alone)
    if conditional:
        controlnet = build_controlnet(s["network"]["controlnet"]).to(work.device)
        copy_trunk(controlnet, unet)
        model = Denoiser(unet, _channels_last(controlnet), prior)
        rest = (1 - share) * work.seconds - alone
        joint = FlowTraining("synthct-conditional", model, latents, work)
        spent["controlnet and unet"] = fit(joint, work, rest)
    maker = _Maker(work, autoencoder, model, tuple(latents.shape[1:]), scale)
    return Trained(maker, spent, conditional)


def _channels_last(network: Any) -> Any:
    return network.to(memory_format=torch.channels_last_3d)


class _Maker:
    """Samples with the engine's solver; the embedding of the mask is made once per volume."""

    def __init__(
        self, work: Work, autoencoder: AutoencoderKlMaisi, model: Denoiser, shape: tuple[int, ...], scale: float
    ) -> None:
        self.work, self.autoencoder, self.model, self.shape, self.scale = work, autoencoder, model, shape, scale
        self.conditions = conditions_of(work)

    @torch.inference_mode()
    def __call__(self, scan: Scan, seed: int) -> torch.Tensor:
        s, work = self.work.settings, self.work
        noise = normal(np.random.default_rng([work.seed, seed]), (1, *self.shape), work.device)
        controlnet, embedding = self.model.controlnet, None
        if controlnet is not None:
            mask = torch.from_numpy(np.asarray(scan.mask)).to(work.device)[None]
            embedding = embed_mask(controlnet, encode_mask(mask, self.model.prior))

        def evaluate(x: torch.Tensor, time: float) -> torch.Tensor:
            times = torch.full((1,), time, device=work.device)
            residuals = None
            if controlnet is not None and embedding is not None:
                residuals = control_residuals(controlnet, x, times, embedding, self.conditions["class_labels"])
            return predict(self.model.unet, x, times, residuals, **self.conditions)

        start = s["temperature"]["unconditional" if controlnet is None else "conditional"] * noise
        latent = last(find_solver(s["solver"])(evaluate, start, s["steps"], s["scheduler"], torch.Generator()))
        volume = self.autoencoder.decode(latent / self.scale)[0, 0]
        if controlnet is not None:
            volume = torch.where(torch.from_numpy(np.asarray(scan.mask)).to(work.device) > 0, volume, 0.0)
        return volume
