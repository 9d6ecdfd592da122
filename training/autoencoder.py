"""Stage *autoencoder*: MAISI's KL autoencoder on real CT patches.

Loss (MAISI, arXiv 2409.11169, section 3.1, adapted): L1 over the whole HU range + L1 in a soft-tissue window (4 bits of
soft-tissue contrast drown in a range of 2000 HU otherwise) + L1 of finite differences (in place of the perceptual
network, whose weights cannot be redistributed) + KL. With ``train_encoder: false`` the encoder stays the one of
:mod:`training.linear_start` (principal components of blocks) and the decoder alone learns. After ``adversarial_from``
the encoder is frozen in any case, so that latents encoded meanwhile stay valid, and a least-squares patch discriminator
sharpens the decoder.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from lightning_fabric import Fabric
from monai.networks.nets import PatchDiscriminator

from SynthCTLib.networks import build_autoencoder
from training.config import Config
from training.ema import ExponentialMovingAverage
from training.files import load_checkpoint, save_checkpoint
from training.linear_start import linear_start
from training.patches import PatchSampler
from training.prepare import read_cases
from training.progress import RunLog
from training.schedule import warmup_cosine


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor, window: tuple[float, float]) -> torch.Tensor:
    """L1 + 0.5 L1 in a soft-tissue window + 0.5 L1 of finite differences; inputs (N, 1, X, Y, Z) in [0, 1]."""
    low, high = window
    full = (output - target).abs().mean()
    # Chosen by the target alone, so an output that strays out of the window still gets a gradient.
    inside = ((target > low) & (target < high)).float()
    soft = ((output - target).abs() * inside).mean() / (high - low)
    edges = sum((output.diff(dim=d) - target.diff(dim=d)).abs().mean() for d in (2, 3, 4))
    return full + 0.5 * soft + 0.5 * edges


def kl_divergence(mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """KL to a unit Gaussian, mean over elements (Kingma & Welling, appendix B)."""
    return 0.5 * (mu.square() + sigma.square() - (sigma.square() + 1e-8).log() - 1).mean()


def train_autoencoder(config: Config) -> None:
    """Train (or resume) the autoencoder; ``autoencoder.pt`` in the run folder always holds the newest state."""
    c = config["autoencoder"]
    run = Path(config["run"])
    fabric = Fabric(
        accelerator=config["accelerator"], devices=config["devices"], precision=c.get("precision", config["precision"])
    )
    fabric.launch()
    fabric.seed_everything(config["seed"])
    model = build_autoencoder(config["network"]["autoencoder"])
    critic = PatchDiscriminator(
        spatial_dims=3,
        channels=c["critic_channels"],
        in_channels=1,
        out_channels=1,
        num_layers_d=c["critic_layers"],
        norm="INSTANCE",
    )
    ema = ExponentialMovingAverage(model, c["ema"])
    optimizer = torch.optim.Adam(model.parameters(), lr=c["lr"], betas=(0.9, 0.99))
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=c["critic_lr"], betas=(0.5, 0.9))
    state = load_checkpoint(run / "autoencoder.pt")
    step = 0
    if state:
        model.load_state_dict(state["model"])
        critic.load_state_dict(state["critic"])
        ema.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        critic_optimizer.load_state_dict(state["critic_optimizer"])
        step = state["step"]
    weights = config["sampling"]
    if step == 0:
        first = PatchSampler(Path(config["prepared"]), read_cases(config["prepared"], "train"), weights, c["patch"], 2)
        linear_start(model, first.batch(24))
        ema = ExponentialMovingAverage(model, c["ema"])
    if not c["train_encoder"]:
        model.encoder.requires_grad_(False)
        model.quant_conv_mu.requires_grad_(False)
        model.quant_conv_log_sigma.requires_grad_(False)
    model, optimizer = fabric.setup(model, optimizer)
    for method in ("encode", "decode"):  # without this Fabric runs them outside of mixed precision and of DDP
        model.mark_forward_method(method)
    critic, critic_optimizer = fabric.setup(critic, critic_optimizer)

    train = PatchSampler(
        Path(config["prepared"]),
        read_cases(config["prepared"], "train"),
        weights,
        c["patch"],
        config["seed"] + step + 1000 * fabric.global_rank,
    )
    val = PatchSampler(Path(config["prepared"]), read_cases(config["prepared"], "val"), weights, c["patch"], 1)
    val_batch = fabric.to_device(val.batch(c["val_patches"]))
    log = RunLog(run, "autoencoder", c["steps"], step, fabric.is_global_zero)
    window = tuple(c["window"])
    last_save = time.monotonic()
    while step < c["steps"]:
        adversarial = step >= c["adversarial_from"]
        frozen = adversarial or not c["train_encoder"]
        for group in optimizer.param_groups:
            group["lr"] = c["lr"] * (
                warmup_cosine(step, c["warmup"], c["adversarial_from"])
                if not adversarial
                else c["adversarial_lr_factor"]
            )
        x = fabric.to_device(train.batch(c["batch"]))
        gan = torch.zeros(())
        if frozen:
            with torch.no_grad():
                mu, sigma = model.encode(x)
            output = model.decode(mu + sigma * torch.randn_like(mu))
            loss = total = reconstruction_loss(output, x, window)
        else:
            output, mu, sigma = model(x)
            loss = reconstruction_loss(output, x, window)
            total = loss + c["kl"] * kl_divergence(mu, sigma)
        if adversarial:
            gan = (critic(output)[-1] - 1).square().mean()
            total = total + c["adversarial_weight"] * gan
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(total)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        critic_loss = torch.zeros(())
        if adversarial:
            real, fake = critic(x)[-1], critic(output.detach())[-1]
            critic_loss = 0.5 * ((real - 1).square().mean() + fake.square().mean())
            critic_optimizer.zero_grad(set_to_none=True)
            fabric.backward(critic_loss)
            critic_optimizer.step()
        step += 1
        ema.update(model.module)
        log.scalars(
            step,
            loss=loss.item(),
            gan=gan.item(),
            critic=critic_loss.item(),
            latent_std=mu.detach().float().std().item(),
            lr=optimizer.param_groups[0]["lr"],
        )
        if step % c["val_every"] == 0 or step == c["steps"]:
            with ema.applied_to(model.module), torch.no_grad():
                mu, _ = model.encode(val_batch)
                output = model.decode(mu).float().clamp(0, 1)
            error = (output - val_batch).abs()
            log.scalars(
                step,
                force=True,
                val_mae_hu=2000 * error.mean().item(),
                val_latent_mean=mu.float().mean().item(),
                val_latent_std=mu.float().std().item(),
            )
            middle = val_batch.shape[-1] // 2
            log.images(step, "reconstruction", [val_batch[:6, 0, :, :, middle], output[:6, 0, :, :, middle]])
        if fabric.is_global_zero and (
            time.monotonic() - last_save > 120 or step in (1, c["adversarial_from"], c["steps"])
        ):
            state = {
                "model": model.module.state_dict(),
                "critic": critic.module.state_dict(),
                "ema": ema.state_dict(),
                "optimizer": optimizer.state_dict(),
                "critic_optimizer": critic_optimizer.state_dict(),
                "step": step,
            }
            save_checkpoint(run / "autoencoder.pt", state)
            last_save = time.monotonic()
    log.close()
