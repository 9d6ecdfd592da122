"""How faithful the autoencoder is on held-out images: PSNR, SSIM, perceptual distance, and the HU bias of every organ.

Whole volumes on their own grid go through encoder mean and decoder in tiles; nothing is sampled. PSNR and SSIM are
MONAI's on the unit range (a window of 2000 HU for CT), perceptual distances are those of :mod:`training.perceptual`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics.regression import PSNRMetric, SSIMMetric
from torch import nn

from SynthCTLib.decoder import decode_latent
from SynthCTLib.device import choose_device
from SynthCTLib.encoder import encode_image
from SynthCTLib.labels import load_vocabulary
from training.autoencoder_start import trained_autoencoder
from training.config import Config
from training.files import write_json
from training.intensities import CT_WINDOW, modality_of, open_image
from training.metrics.organ_hu import median_by_label
from training.metrics.summary import summary
from training.perceptual import even_slices, perceptual_distance
from training.prepare import read_cases
from training.progress import RunLog
from training.provenance import command, commit, data_hash

MULTIPLE = 16
SLICES = 12
"""Per plane, for the perceptual distance of a whole volume."""


def image_scores(output: torch.Tensor, target: torch.Tensor, features: nn.Module | None) -> dict[str, float]:
    """PSNR (dB), SSIM and, with ``features``, the perceptual distance of (N, 1, X, Y, Z) in the unit range."""
    size = min(11, *(n - 1 + n % 2 for n in output.shape[2:]))  # SSIM's window must fit
    metrics = {"psnr": PSNRMetric(max_val=1.0), "ssim": SSIMMetric(spatial_dims=3, win_size=size)}
    scores = {name: float(torch.as_tensor(metric(output, target)).mean()) for name, metric in metrics.items()}
    if features is not None:
        slices = even_slices(tuple(output.shape[2:]), SLICES)
        scores["perceptual"] = perceptual_distance(features, output, target, slices).item()
    return scores


def organ_bias(output: np.ndarray, target: np.ndarray, mask: np.ndarray) -> dict[int, float]:
    """Median HU of the reconstruction minus median HU of the CT, by label id; all (X, Y, Z)."""
    made, real = median_by_label(output, mask), median_by_label(target, mask)
    return {label: made[label] - real[label] for label in real}


@torch.no_grad()
def write_quality(config: Config, count: int, features: nn.Module | None, run: Path) -> None:
    """Measure the averaged weights on ``count`` held-out cases, evenly chosen from all of them.

    Writes ``<run>/autoencoder-quality.json`` and TensorBoard scalars. Organs need ``mask.npy`` of the stage *label*, or
    ``labels.npy``; cases without either, and MR, count for the image scores only.
    """
    model, step = trained_autoencoder(run, config["network"]["autoencoder"])
    model.to(choose_device(config["accelerator"]))
    held_out = read_cases(config["prepared"], "val")
    chosen = [held_out[i] for i in np.linspace(0, len(held_out) - 1, min(count, len(held_out))).round().astype(int)]
    scores: dict[str, list[float]] = defaultdict(list)
    bias: dict[int, list[float]] = defaultdict(list)
    for meta in chosen:
        output, target = _reconstruct(model, config, meta)
        for name, value in image_scores(output[None, None], target[None, None], features).items():
            scores[name].append(value)
        for label, error in _bias_of(config, meta, output, target, scores).items():
            bias[label].append(error)
        print(f"measured {meta['case_id']}: " + " ".join(f"{k}={v[-1]:.4g}" for k, v in scores.items()), flush=True)
    names = {label: load_vocabulary().by_id(label).name for label in bias}
    report = {
        "n": len(chosen),
        "cases": [meta["case_id"] for meta in chosen],
        "step": step,
        **{name: summary(values) for name, values in scores.items()},
        "feature_network": config["autoencoder"].get("feature_network", {"name": "efficientnet-lite0"})["name"],
        "organ_bias_hu": {names[label]: summary(values) for label, values in sorted(bias.items())},
        "data": data_hash(Path(config["prepared"])),
        "command": command(),
        "commit": commit(),
    }
    write_json(run / "autoencoder-quality.json", report)
    _log(run, step, scores, {names[label]: values for label, values in bias.items()})


def _reconstruct(model: Any, config: Config, meta: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Reconstruction and image (X, Y, Z) of a case in the unit range, on the CPU."""
    image = open_image(Path(config["prepared"]), meta)
    target = image.unit(image.array)
    pads = [(0, -n % MULTIPLE) for n in target.shape]
    padded = torch.from_numpy(np.pad(target.numpy(), pads, mode="edge"))
    whole = torch.from_numpy(decode_latent(model, encode_image(model, padded), 1.0))
    return whole[tuple(slice(0, n) for n in target.shape)], target


def _bias_of(
    config: Config,
    meta: Mapping[str, Any],
    output: torch.Tensor,
    target: torch.Tensor,
    scores: dict[str, list[float]],
) -> dict[int, float]:
    """Bias of each organ of a labeled CT; adds the mean absolute error inside the body to ``scores``."""
    folder = Path(config["prepared"]) / meta["case_id"]
    path = next((p for p in (folder / "mask.npy", folder / "labels.npy") if p.is_file()), None)
    if path is None or modality_of(meta) != "ct":
        return {}
    mask = np.load(path)
    low, high = CT_WINDOW
    made, real = (v.numpy() * (high - low) + low for v in (output, target))
    scores["body_mae_hu"].append(float(np.abs(made - real)[mask > 0].mean()))
    return organ_bias(made, real, mask)


def _log(run: Path, step: int, scores: dict[str, list[float]], bias: dict[str, list[float]]) -> None:
    log = RunLog(run, "autoencoder", step, step, active=True)
    log.scalars(step, force=True, **{f"quality/{name}": float(np.mean(v)) for name, v in scores.items()})
    log.scalars(step, force=True, **{f"organ_bias_hu/{name}": float(np.mean(v)) for name, v in bias.items()})
    log.close()
