"""Stage *encode*: prepared images and masks → latents (μ, not a sample: sampling would put a floor under the loss).

Each case is encoded in several versions: another spacing inside the model's range, mirrored or not, with a random
margin of air. Voxels outside the body are set to air first (−1000 HU, MR: the lowest value), because a mask value of 0
means air. Volumes that do not fit into memory go through the encoder in tiles, with the result of one piece.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from SynthCTLib.checkpoint import SCALE_FACTOR
from SynthCTLib.device import choose_device
from SynthCTLib.encoder import encode_image
from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.model_files import read_json, sha256_of
from training.autoencoder_start import trained_autoencoder
from training.config import Config
from training.files import save_latent, write_json
from training.intensities import modality_of, open_image
from training.latents import COMPLETE, INDEX
from training.prepare import read_cases
from training.scale_factor import Sums, scale_factor_of, settled_scale_factor
from training.settings import read_settings, require_keys

MULTIPLE = 16  # latent downsampling 4 × U-Net downsampling 4
FACTS = ("spacing", "group", "has_many_organ_labels", "modality")
"""Entries of a prepared case that its latents, or what the index says about them, depend on."""


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


def pad_with_air(
    hu: np.ndarray, mask: np.ndarray, margin: np.ndarray, smallest: int, lowest: float = -1000.0
) -> tuple[np.ndarray, np.ndarray]:
    """Pad by ``margin`` voxels of the value ``lowest`` in front and up to multiples of 16 behind."""
    pads = []
    for n, m in zip(hu.shape, margin, strict=True):
        total = max(smallest, -(-(n + 2 * int(m)) // MULTIPLE) * MULTIPLE)
        pads.append((int(m), total - n - int(m)))
    return np.pad(hu, pads, constant_values=lowest), np.pad(mask, pads)


def draw_spacing(native: np.ndarray, limits: dict, rng: np.random.Generator) -> np.ndarray:
    """A target spacing (mm) inside the model's range, never much finer than the image really is."""
    plane = rng.uniform(*limits["xy"])
    depth = rng.uniform(*limits["z"])
    target = np.array([plane, plane, depth])
    return np.where(native > 0.9 * target, native, target)


def kind_of(meta: Mapping[str, Any], versions: Mapping[str, int]) -> str:
    """The kind by which a case is encoded and later drawn: its group, if it has an own number of versions."""
    if meta["group"] in versions:
        return str(meta["group"])
    return "rich" if meta["has_many_organ_labels"] else "other"


class Encoder:
    """Encodes cases with one autoencoder; beside the latents of each lies a record of what they were made from."""

    def __init__(self, config: Config, settings: Mapping[str, Any], out: Path) -> None:
        """Raises InputError if there is no trained autoencoder in the run folder yet."""
        run = Path(config["run"])
        self.settings, self.out, self.seed = settings, out, config["seed"]
        self.prepared = Path(config["prepared"])
        self.model, self.step = trained_autoencoder(run, config["network"]["autoencoder"])
        self.model.to(choose_device(config["accelerator"]))
        self.fingerprint = sha256_of(run / "autoencoder.pt")
        self.mirror = mirror_table()

    def case(self, meta: dict[str, Any]) -> dict[str, Any]:
        """The record of a case: its entries for the index, and the sums over its latents.

        Made only if there is none yet that was made from the same autoencoder, data and settings.
        """
        path = self.out / f"{meta['case_id']}.json"
        files = self._files(meta)
        state = self._state(meta, [(file.stat().st_size, file.stat().st_mtime_ns) for file in files])
        record = read_json(path)
        whole = "entries" in record and all((self.out / e["file"]).is_file() for e in record["entries"])
        if whole and record["state"] == state:
            return record
        # Files that were written again may hold what they held; reading them takes less than encoding them.
        content = self._state(meta, [sha256_of(file) for file in files], {key: meta.get(key) for key in FACTS})
        if not (whole and record.get("content") == content):
            path.unlink(missing_ok=True)
            record = self._encode(meta)
        record |= {"state": state, "content": content}
        write_json(path, record)
        return record

    def _files(self, meta: dict[str, Any]) -> list[Path]:
        """Image and mask of a case. Raises InputError if one is missing."""
        folder = self.prepared / meta["case_id"]
        files = [folder / f"{modality_of(meta)}.npy", folder / "mask.npy"]
        missing = [str(path) for path in files if not path.is_file()]
        if missing:
            raise InputError(f"{missing[0]} is missing: run the stages 'prepare' and 'label' first.")
        return files

    def _state(self, meta: dict[str, Any], *seen: Any) -> str:
        """Changes with everything that the latents of a case depend on; ``seen``: what tells its data apart."""
        used = {key: self.settings[key] for key in ("versions", "native", "spacing")}
        used |= {"images": True} if self.settings["images"] else {}
        text = json.dumps([self.fingerprint, self.seed, meta["split"], used, *seen], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _encode(self, meta: dict[str, Any]) -> dict[str, Any]:
        # By name and not by place, so that cases stay as they are when others are added.
        identity = hashlib.sha256(meta["case_id"].encode()).digest()
        rng = np.random.default_rng([self.seed, int.from_bytes(identity[:8], "big")])
        image = open_image(self.prepared, meta)
        mask = np.load(self.prepared / meta["case_id"] / "mask.npy")
        values = image.array.astype(np.float32)
        values[mask == 0] = image.low
        training, kind = meta["split"] == "train", kind_of(meta, self.settings["versions"])
        entries, sums = [], []
        for version in range(self.settings["versions"][kind] if training else 1):
            part, labels, spacing = self._version(values, mask, meta, image.low, training, rng)
            latent = encode_image(self.model, image.unit(part), self._budget())[0].float().cpu()
            name = f"{meta['case_id']}_{version}.npz"
            stored = {"latent": latent.half().numpy(), "mask": labels, "spacing": spacing.astype(np.float32)}
            if self.settings["images"]:
                stored["image"] = image.unit(part).half().numpy()
            save_latent(self.out / name, **stored)
            exact = latent.double()
            sums.append([exact.sum().item(), exact.square().sum().item(), latent.numel()])
            entries.append(
                {
                    "file": name,
                    "case_id": meta["case_id"],
                    "split": meta["split"],
                    "kind": kind,
                    "modality": meta.get("modality", "ct"),
                    "shape": list(latent.shape[1:]),
                    "spacing": spacing.tolist(),
                }
            )
        return {"entries": entries, "sums": sums}

    def _version(
        self,
        values: np.ndarray,
        mask: np.ndarray,
        meta: dict[str, Any],
        lowest: float,
        training: bool,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(image, mask, spacing in mm) of one version of a case, padded to the multiples that the networks take."""
        native = np.asarray(meta["spacing"])
        keep = meta["group"] in self.settings["native"]
        target = native if keep else draw_spacing(native, self.settings["spacing"], rng)
        part, labels = resample(values, mask, native, target)
        if training and rng.random() < 0.5:
            part, labels = part[::-1], self.mirror[labels[::-1]]
        margin = rng.integers(0, 13, 3) * np.array([1, 1, 0]) if training else np.array([4, 4, 0])
        padded = pad_with_air(np.ascontiguousarray(part), np.ascontiguousarray(labels), margin, 48, lowest)
        return (*padded, target)

    def _budget(self) -> int | None:
        return self.settings["memory_mb"] and self.settings["memory_mb"] * 10**6


@torch.no_grad()
def encode(config: Config) -> None:
    """Write ``latents/<case>_<k>.npz`` and ``latents/index.json`` with the scale factor.

    Each file holds latent, mask and spacing, with ``images`` the image as well. A run that was stopped goes on with the
    next case; until it is through, an earlier index says that it is not complete. Raises InputError if a stage before
    has not been run.
    """
    settings = read_settings(config, "encode")
    require_keys(config, "run", "prepared", "seed", "accelerator", "network.autoencoder")
    out = Path(config["run"]) / "latents"
    out.mkdir(parents=True, exist_ok=True)
    encoder = Encoder(config, settings, out)
    earlier = read_json(out / INDEX)
    same = earlier if earlier.get("autoencoder") == encoder.fingerprint else {}
    factor = settled_scale_factor(config, settings["scale_factor"], same)
    cases = [meta for split in ("train", "val") for meta in read_cases(config["prepared"], split)]
    index: list[dict[str, Any]] = []
    sums: list[Sums] = []
    began = time.monotonic()
    if earlier:
        write_json(out / INDEX, {**earlier, COMPLETE: False})
    for number, meta in enumerate(cases, 1):
        record = encoder.case(meta)
        index += record["entries"]
        sums += [tuple(one) for one in record["sums"]] if meta["split"] == "train" else []
        left = (time.monotonic() - began) / number * (len(cases) - number)
        print(f"encoded {number}/{len(cases)} {meta['case_id']} [{left / 60:.1f} min left]", flush=True)
    if factor is None:
        factor = scale_factor_of(sums)
    write_json(
        out / INDEX,
        {
            COMPLETE: True,
            SCALE_FACTOR: factor,
            "autoencoder_step": encoder.step,
            "autoencoder": encoder.fingerprint,
            "latents": index,
        },
    )
    print(f"{len(index)} latents, scale factor {factor:.4f}")
