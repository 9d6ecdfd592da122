"""Stage *encode*: prepared CT and masks → latents (μ, not a sample: sampling would put a floor under the loss).

Each case is encoded in several versions: another spacing inside the model's range, mirrored or not, with a random
margin of air. Voxels outside the body are set to −1000 HU first, because a mask value of 0 means air.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from SynthCTLib.labels import load_vocabulary
from SynthCTLib.networks import build_autoencoder
from training.config import Config
from training.files import load_checkpoint, write_json
from training.patches import hu_to_unit
from training.prepare import read_cases

MULTIPLE = 16  # latent downsampling 4 × U-Net downsampling 4


def mirror_table() -> np.ndarray:
    """(256,) uint8: the id of the same structure on the other side, the id itself where there is none."""
    vocabulary = load_vocabulary()
    table = np.arange(256, dtype=np.uint8)
    names = {label.name: label.id for label in vocabulary.labels}
    for label in vocabulary.labels:
        for here, there in (("left ", "right "), ("right ", "left ")):
            if label.name.startswith(here) and there + label.name[len(here) :] in names:
                table[label.id] = names[there + label.name[len(here) :]]
    return table


def resample(
    hu: np.ndarray, mask: np.ndarray, spacing: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both on a grid of ``target`` mm: CT smoothed against aliasing, then linear; mask by nearest neighbor."""
    zoom = spacing / target
    if np.allclose(zoom, 1, atol=0.02):
        return hu.astype(np.float32), mask
    sigma = 0.4 * np.sqrt(np.maximum((1 / zoom) ** 2 - 1, 0))
    smooth = ndimage.gaussian_filter(hu.astype(np.float32), sigma)
    return ndimage.zoom(smooth, zoom, order=1), ndimage.zoom(mask, zoom, order=0)


def pad_with_air(hu: np.ndarray, mask: np.ndarray, margin: np.ndarray, smallest: int) -> tuple[np.ndarray, np.ndarray]:
    """Pad by ``margin`` voxels in front and up to multiples of 16 behind."""
    pads = []
    for n, m in zip(hu.shape, margin, strict=True):
        total = max(smallest, -(-(n + 2 * int(m)) // MULTIPLE) * MULTIPLE)
        pads.append((int(m), total - n - int(m)))
    return np.pad(hu, pads, constant_values=-1000.0), np.pad(mask, pads)


def draw_spacing(native: np.ndarray, limits: dict, rng: np.random.Generator) -> np.ndarray:
    """A target spacing (mm) inside the model's range, never much finer than the image really is."""
    plane = rng.uniform(*limits["xy"])
    depth = rng.uniform(*limits["z"])
    target = np.array([plane, plane, depth])
    return np.where(native > 0.9 * target, native, target)


@torch.no_grad()
def encode(config: Config) -> None:
    """Write ``latents/<case>_<k>.npz`` (latent, mask, spacing) and ``latents/index.json`` with the scale factor."""
    c = config["encode"]
    prepared, out = Path(config["prepared"]), Path(config["run"]) / "latents"
    out.mkdir(parents=True, exist_ok=True)
    model = build_autoencoder(config["network"]["autoencoder"])
    state = load_checkpoint(Path(config["run"]) / "autoencoder.pt")
    if state is None:
        raise ValueError("There is no autoencoder yet: run the stage 'autoencoder' first.")
    model.load_state_dict(state["ema"]["shadow"])
    model.eval()
    mirror = mirror_table()
    index: list[dict] = []
    total, squares, count = 0.0, 0.0, 0
    began = time.monotonic()
    cases = [(split, meta) for split in ("train", "val") for meta in read_cases(prepared, split)]
    for number, (split, meta) in enumerate(cases):
        kind = (
            meta["group"] if meta["group"] in c["versions"] else ("rich" if meta["has_many_organ_labels"] else "other")
        )
        rng = np.random.default_rng([config["seed"], number])
        folder = prepared / meta["case_id"]
        source_hu = np.load(folder / "ct.npy").astype(np.float32)
        source_mask = np.load(folder / "mask.npy")
        source_hu[source_mask == 0] = -1000.0
        native = np.asarray(meta["spacing"])
        for version in range(c["versions"][kind] if split == "train" else 1):
            target = native if meta["group"] in c["native"] else draw_spacing(native, c["spacing"], rng)
            hu, mask = resample(source_hu, source_mask, native, target)
            if split == "train" and rng.random() < 0.5:
                hu, mask = hu[::-1], mirror[mask[::-1]]
            margin = rng.integers(0, 13, 3) * np.array([1, 1, 0]) if split == "train" else np.array([4, 4, 0])
            hu, mask = pad_with_air(np.ascontiguousarray(hu), np.ascontiguousarray(mask), margin, 48)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config["precision"].startswith("bf16")):
                mu, _ = model.encode(hu_to_unit(torch.from_numpy(hu)[None, None]))
            latent = mu[0].float()
            name = f"{meta['case_id']}_{version}.npz"
            np.savez(out / name, latent=latent.half().numpy(), mask=mask, spacing=target.astype(np.float32))
            if split == "train":
                total += latent.double().sum().item()
                squares += latent.double().square().sum().item()
                count += latent.numel()
            index.append(
                {
                    "file": name,
                    "case_id": meta["case_id"],
                    "split": split,
                    "kind": kind,
                    "shape": list(latent.shape[1:]),
                    "spacing": target.tolist(),
                }
            )
        left = (time.monotonic() - began) / (number + 1) * (len(cases) - number - 1)
        print(f"encoded {number + 1}/{len(cases)} {meta['case_id']} [{left / 60:.1f} min left]", flush=True)
    std = (squares / count - (total / count) ** 2) ** 0.5
    write_json(out / "index.json", {"scale_factor": 1 / std, "autoencoder_step": state["step"], "latents": index})
    print(f"{len(index)} latents, scale factor {1 / std:.4f}")
