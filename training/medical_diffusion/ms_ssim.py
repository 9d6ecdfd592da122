"""Stage *ms-ssim*: likeness of 1000 pairs of made and of real volumes (Medical Diffusion, "Quantitative evaluation").

The nearer the two values, the nearer the variety of the made volumes is to that of real ones; above it they are too
alike. MS-SSIM: Wang et al., Asilomar 2003, on volumes in [−1, 1], with a kernel of 5 voxels, since volumes are small.
``paper_compatible`` gives the public notebook's value, for comparison with published numbers only: two faults, namely
data range 1 instead of 2 and the coarsest scale counted once per finer one (to the 4th power), and its kernel of
13 voxels with mirrored borders, always at five scales.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from monai.metrics.regression import compute_ms_ssim
from scipy.ndimage import gaussian_filter

from SynthCTLib.errors import InputError
from training.config import Config
from training.files import write_json
from training.medical_diffusion.volumes import VolumeSet, normalize
from training.provenance import command, commit

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
KERNEL, SIGMA = 5, 1.5
NOTEBOOK_KERNEL = 13  # SciPy cuts a Gaussian at four standard deviations


def scale_weights(shape: tuple[int, ...]) -> tuple[float, ...]:
    """Weights of as many of the five scales as MONAI takes for the smallest side, with sum 1: thin volumes have fewer.

    Raises InputError for volumes that are thinner than the kernel.
    """
    # The coarsest scale must hold the kernel; MONAI asks for the square of the halvings, more for three.
    count = sum(min(shape) // max(2**halvings, halvings**2) >= KERNEL for halvings in range(len(WEIGHTS)))
    if not count:
        raise InputError(f"Volumes of {'×'.join(map(str, shape))} voxels are too thin for MS-SSIM.")
    used = WEIGHTS[:count]
    return tuple(weight / sum(used) for weight in used)


def ms_ssim(a: torch.Tensor, b: torch.Tensor) -> float:
    """MS-SSIM of two volumes (1, 1, X, Y, Z) in [−1, 1]: contrast of all scales, luminance of the coarsest."""
    weights = scale_weights(a.shape[2:])
    return float(compute_ms_ssim(a, b, 3, data_range=2.0, kernel_size=KERNEL, kernel_sigma=SIGMA, weights=weights))


def ms_ssim_as_published(a: torch.Tensor, b: torch.Tensor) -> float:
    """The value of the public notebook for volumes (1, 1, X, Y, Z), faults included; see the top of this file.

    A mean contrast below 0, which has no root, counts as 0. Raises InputError for a side below 16 voxels.
    """
    if min(a.shape[2:]) < 2 ** (len(WEIGHTS) - 1):
        raise InputError(
            f"Volumes of {'×'.join(map(str, a.shape[2:]))} voxels are too thin for the notebook's MS-SSIM."
        )
    result = 1.0
    for weight in WEIGHTS[:-1]:
        _, contrast = _mean_terms(a, b)
        result *= max(0.0, contrast) ** weight
        a, b = F.avg_pool3d(a, 2), F.avg_pool3d(b, 2)
    similarity, _ = _mean_terms(a, b)
    return result * max(0.0, similarity) ** (WEIGHTS[-1] * (len(WEIGHTS) - 1))


def _mean_terms(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """(SSIM, its term of contrast and structure), means over the volume; data range 1, SciPy's Gaussian."""

    def local(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, SIGMA)

    x, y = (volume[0, 0].numpy() for volume in (a, b))
    mean_x, mean_y = local(x), local(y)
    variances = local(x * x) - mean_x**2 + local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    contrast = (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float((luminance * contrast).mean()), float(contrast.mean())


def draw_pairs(count: int, pairs: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """``pairs`` different pairs of ``count`` volumes at random, or all where there are fewer."""
    total = count * (count - 1) // 2
    chosen = rng.choice(total, min(pairs, total), replace=False)
    later = np.floor((1 + np.sqrt(8 * chosen + 1)) / 2).astype(int)
    return [(int(i), int(n - i * (i - 1) // 2)) for i, n in zip(later, chosen, strict=True)]


def likeness(
    count: int,
    read: Callable[[int], np.ndarray],
    pairs: int,
    seed: int,
    measure: Callable[[torch.Tensor, torch.Tensor], float],
) -> dict[str, Any]:
    """Mean and spread of ``measure`` over pairs of ``count`` volumes, read two at a time.

    Raises InputError for fewer than two volumes.
    """
    if count < 2:
        raise InputError(f"MS-SSIM needs two volumes or more, not {count}.")

    def tensor(number: int) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(read(number)))[None, None]

    drawn = draw_pairs(count, pairs, np.random.default_rng(seed))
    values = [measure(tensor(i), tensor(j)) for i, j in drawn]
    return {
        "volumes": count,
        "pairs": len(drawn),
        "mean": float(np.mean(values)),
        "std": float(np.std(values)),
    }


def made_paths(folder: Path) -> list[Path]:
    """The volumes of ``synthct generate``, CT or MR, anywhere in a folder."""
    return sorted([*folder.rglob("ct.nii.gz"), *folder.rglob("mr.nii.gz")])


def read_made(path: Path, intensity: Config, shape: tuple[int, ...]) -> np.ndarray:
    """A volume of ``synthct generate``, normalized like the real ones. Raises InputError for another size."""
    volume = normalize(np.asarray(nib.load(path).dataobj, np.float32), intensity)  # type: ignore[attr-defined]
    if volume.shape != shape:
        raise InputError(f"{path} has {volume.shape} voxels, the real volumes have {shape}; give matching ones.")
    return volume


def compare(config: Config) -> None:
    """Write ``<ms-ssim.out>``: the likeness of made pairs and of real ones, and their difference."""
    settings = config["ms-ssim"]
    measure = ms_ssim_as_published if settings["paper_compatible"] else ms_ssim
    volumes = VolumeSet(config, "train")
    shape, intensity = volumes.array(0).shape, config["volumes"]["intensity"]
    paths = made_paths(Path(settings["made"]))
    readers: dict[str, tuple[int, Callable[[int], np.ndarray]]] = {
        "made": (len(paths), lambda n: read_made(paths[n], intensity, shape)),
        "real": (len(volumes), volumes.array),
    }
    found = {
        name: likeness(count, read, settings["pairs"], config["seed"], measure)
        for name, (count, read) in readers.items()
    }
    gap = found["made"]["mean"] - found["real"]["mean"]
    compatible = settings["paper_compatible"]
    protocol: dict[str, Any] = {"kernel": NOTEBOOK_KERNEL if compatible else KERNEL, "sigma": SIGMA}
    protocol |= {"weights": WEIGHTS if compatible else scale_weights(shape)}
    protocol |= {"paper_compatible": compatible, "size": list(shape)}
    result = {**found, "gap": gap, "protocol": protocol, "command": command(), "commit": commit()}
    write_json(Path(settings["out"]), result)
    print(f"MS-SSIM made {found['made']['mean']:.4f}, real {found['real']['mean']:.4f}, gap {gap:+.4f}")
