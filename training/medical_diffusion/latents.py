"""Stage *md-encode*: volumes → unquantized latents of the averaged encoder, in [−1, 1] by the range of the codebook.

Mirroring happens before encoding, since the encoder need not commute with it: each volume is encoded both ways.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from SynthCTLib.errors import InputError
from SynthCTLib.medical_diffusion.codebook import to_unit
from SynthCTLib.medical_diffusion.vqgan import VqGan
from SynthCTLib.model_files import read_json, sha256_of
from training.config import Config
from training.files import load_checkpoint, save_arrays, write_json
from training.medical_diffusion.stage import one_device
from training.medical_diffusion.volumes import VolumeSet


def trained_vqgan(config: Config) -> VqGan:
    """The VQ-GAN with averaged encoder and decoder.

    Raises InputError where none has been trained, and where the config describes another network than the trained one.
    """
    path = _trained(config)
    state = load_checkpoint(path)
    assert state is not None
    model = VqGan(**config["network"]["vqgan"])
    averaged = torch.nn.ModuleList([model.encoder, model.decoder])
    try:
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["ema"]["shadow"])
    except RuntimeError as error:
        raise InputError(
            f"{path} is of another network than network.vqgan of the config describes; restore the config or choose "
            "another 'run'."
        ) from error
    return model.requires_grad_(False).eval()


def vqgan_sha256(config: Config) -> str:
    """SHA-256 of the trained VQ-GAN, to tell whose latents are whose. Raises InputError where there is none."""
    return sha256_of(_trained(config))


def _trained(config: Config) -> Path:
    path = Path(config["run"]) / "vqgan.pt"
    if not path.is_file():
        raise InputError("There is no VQ-GAN yet: run the stage 'vqgan' first.")
    return path


def require_same_vqgan(diffusion: dict[str, Any], fingerprint: str) -> None:
    """Raise InputError unless a checkpoint of *md-diffusion* was trained on latents of the VQ-GAN with this SHA-256."""
    if diffusion.get("vqgan_sha256") != fingerprint:
        raise InputError(
            "The diffusion model in md-diffusion.pt was trained on latents of another VQ-GAN than the present one: "
            "restore vqgan.pt, or delete md-diffusion.pt and run the stages 'md-encode' and 'md-diffusion' again."
        )


@torch.inference_mode()
def encode_volumes(config: Config) -> None:
    """Write ``<run>/md-latents/<split>.npz``, their range and spread and the VQ-GAN's SHA-256 as ``index.json``.

    Values beyond ±1, which sampling could not reach, are counted and told. Raises InputError.
    """
    fabric = one_device(config, "32-true")
    fingerprint, model = vqgan_sha256(config), trained_vqgan(config).to(fabric.device)
    low, high = model.codebook.range()
    folder = Path(config["run"]) / "md-latents"
    index: dict[str, Any] = {"vqgan_sha256": fingerprint, "codebook_min": low, "codebook_max": high}
    for split in ("train", "val"):
        volumes = VolumeSet(config, split)
        flips = (False, True) if split == "train" and volumes.settings["flip_axis"] is not None else (False,)
        found = [
            to_unit(model.encode(fabric.to_device(volumes.tensor(n, flip)[None])), low, high)[0].cpu().numpy()
            for n in range(len(volumes))
            for flip in flips
        ]
        latents = np.stack(found)
        save_arrays(folder / f"{split}.npz", latents=latents)
        index |= {f"{split}_beyond": float((np.abs(latents) > 1).mean()), f"{split}_std": float(latents.std())}
        print(f"{split}: {latents.shape}, {index[f'{split}_beyond']:.2%} of the values are beyond the codebook's range")
    write_json(folder / "index.json", index)


def read_latents(config: Config, split: str) -> torch.Tensor:
    """(volumes, channels, depth, height, width) in about [−1, 1].

    Raises InputError where there are none, and where they are of another VQ-GAN than the trained one.
    """
    path = Path(config["run"]) / "md-latents" / f"{split}.npz"
    if not path.is_file():
        raise InputError("There are no latents yet: run the stage 'md-encode' first.")
    if read_json(path.with_name("index.json")).get("vqgan_sha256") != vqgan_sha256(config):
        raise InputError("The latents are of another VQ-GAN than the present one: run the stage 'md-encode' again.")
    with np.load(path) as stored:
        return torch.from_numpy(stored["latents"])
