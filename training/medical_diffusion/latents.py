"""Stage *md-encode*: volumes → unquantized latents of the averaged encoder, in [−1, 1] by the range of the codebook.

Mirroring happens before encoding, since the encoder need not commute with it: each volume is encoded both ways.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from SynthCTLib.errors import InputError
from SynthCTLib.medical_diffusion.codebook import to_unit
from SynthCTLib.medical_diffusion.vqgan import VqGan
from training.config import Config
from training.files import load_checkpoint, save_arrays, write_json
from training.medical_diffusion.stage import one_device
from training.medical_diffusion.volumes import VolumeSet


def trained_vqgan(config: Config) -> VqGan:
    """The VQ-GAN with averaged encoder and decoder. Raises InputError where none has been trained."""
    state = load_checkpoint(Path(config["run"]) / "vqgan.pt")
    if state is None:
        raise InputError("There is no VQ-GAN yet: run the stage 'vqgan' first.")
    model = VqGan(**config["network"]["vqgan"])
    model.load_state_dict(state["model"])
    averaged = torch.nn.ModuleList([model.encoder, model.decoder])
    averaged.load_state_dict(state["ema"]["shadow"])
    return model.requires_grad_(False).eval()


@torch.inference_mode()
def encode_volumes(config: Config) -> None:
    """Write ``<run>/md-latents/<split>.npz`` and their range and spread as ``index.json``.

    Values beyond ±1, which sampling could not reach, are counted and told. Raises InputError.
    """
    fabric = one_device(config, "32-true")
    model = trained_vqgan(config).to(fabric.device)
    low, high = model.codebook.range()
    folder = Path(config["run"]) / "md-latents"
    index: dict[str, float] = {"codebook_min": low, "codebook_max": high}
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
    """(volumes, channels, depth, height, width) in about [−1, 1]. Raises InputError where there are none."""
    path = Path(config["run"]) / "md-latents" / f"{split}.npz"
    if not path.is_file():
        raise InputError("There are no latents yet: run the stage 'md-encode' first.")
    with np.load(path) as stored:
        return torch.from_numpy(stored["latents"])
