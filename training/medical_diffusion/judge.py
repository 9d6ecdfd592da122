"""Stage *md-evaluate*: scorecard of a model's CTs beside the baselines, its reconstructions, white dots, and pictures.

The CTs of ``synthct generate --count`` are put on the grid of the baselines' config and judged by its code, against
the same patients; see :mod:`training.baselines.compare`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from training.baselines.compare import about, judge_made
from training.baselines.volumes import on_grid, read_volumes
from training.config import Config, load_config
from training.files import write_json
from training.medical_diffusion.curves import write_curves
from training.medical_diffusion.latents import trained_vqgan
from training.medical_diffusion.volumes import VolumeSet
from training.medical_diffusion.white_dots import white_dots
from training.metrics.summary import summary
from training.pictures import beside_each_other, comparison_picture
from training.scan_files import read_folder
from training.scans import Scan
from training.scorecard import without_nan

SHOWN = 2


def evaluate_model(config: Config) -> None:
    """Write ``md-evaluate``'s ``out`` (JSON), ``picture`` and ``curves`` (PNG).

    Raises InputError where the VQ-GAN, the CTs in ``made`` or cases of the baselines' config are missing.
    """
    settings = config["md-evaluate"]
    beside = load_config(Path(settings["baselines"]), [])
    real, reconstructed = reconstructions(config)  # first, since a VQ-GAN that is not there must not be told late
    training, held_out = read_volumes(beside, "train"), read_volumes(beside, "val")
    samples, _ = read_folder(Path(settings["made"]), held_out)
    made = [placed(scan, beside["grid"]) for scan in samples]
    scores, _ = judge_made(beside, made, False, training, held_out)
    card = {
        **about(beside, settings["name"], len(made), len(training)),
        "conditional": False,
        "made_on": {"shape": list(samples[0].hu.shape), "spacing": list(samples[0].spacing)},
        **scores,
        "reconstruction_error_hu": summary(
            [float(np.abs(a - b).mean()) for a, b in zip(real, reconstructed, strict=True)]
        ),
        "white_dots": {
            "made": white_dots([scan.hu for scan in samples]),
            "reconstructed": white_dots(reconstructed),
            "real": white_dots(real),
        },
    }
    write_json(Path(settings["out"]), without_nan(card))
    write_picture(Path(settings["picture"]), samples, real, reconstructed)
    write_curves(config, Path(settings["curves"]))
    print(settings["out"])


def placed(scan: Scan, grid: Config) -> Scan:
    """A CT without a mask on ``grid``, cut or filled with air around the middle."""
    hu, _ = on_grid(
        scan.hu, np.ones(scan.hu.shape, np.uint8), np.asarray(scan.spacing), np.asarray(grid["spacing"]),
        tuple(grid["shape"]),
    )  # fmt: skip
    return Scan(scan.name, hu, None, tuple(grid["spacing"]), scan.group)


@torch.inference_mode()
def reconstructions(config: Config) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Held-out volumes (X, Y, Z) in HU, as they are and through the VQ-GAN."""
    model, volumes = trained_vqgan(config), VolumeSet(config, "val")
    axis = config["volumes"]["depth_axis"]
    low, high = config["export"]["card"]["intensity"]["hu"]

    def to_hu(unit: torch.Tensor) -> np.ndarray:
        return np.moveaxis(((unit.clamp(-1, 1) + 1) / 2 * (high - low) + low).numpy(), 0, axis)

    images = [volumes.tensor(number)[None] for number in range(len(volumes))]
    return [to_hu(image[0, 0]) for image in images], [to_hu(model.reconstruct(image)[0, 0]) for image in images]


def write_picture(path: Path, samples: list[Scan], real: list[np.ndarray], reconstructed: list[np.ndarray]) -> None:
    """Axial, coronal and sagittal middle slices: real volumes and their reconstructions, then samples, in columns."""
    spacing = samples[0].spacing
    columns = [
        comparison_picture({"real": a, "reconstructed": b}, spacing)
        for a, b in zip(real[:SHOWN], reconstructed[:SHOWN], strict=True)
    ]
    columns += [comparison_picture({f"sampled {scan.name}": scan.hu}, spacing) for scan in samples[:SHOWN]]
    sheet = beside_each_other(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    sheet.resize((sheet.width // 2, sheet.height // 2)).save(part, "png")
    part.replace(path)
