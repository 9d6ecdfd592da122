"""Tiles against the whole volume: how far apart are the images, and how much further with statistics of each tile?

    python -m benchmarks.seam [--latent 24 20 16] [--device cpu] [--card nv-generate-ct-rflow]

Released layout with random weights (or a model's own with --card), several tilings. The last line is JSON: ``max_hu``
(float32, largest difference over all tilings), ``mean_hu_half`` (half precision against float32 in one piece, mean
difference), ``max_hu_own_statistics`` (tiles normalized one by one, as the reference does: the seams).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks.full_size import random_networks, tell
from SynthCTLib.autoencoder_layers import decoder_layers
from SynthCTLib.seamless import Cut, run_seamless

CUTS = ((2, 1, 1), (1, 3, 2), (3, 3, 3), (5, 4, 2))
HU = 2000.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latent", type=int, nargs=3, default=(24, 20, 16))
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    half = torch.float16 if device.type == "cuda" else torch.bfloat16
    _, networks = random_networks(device, torch.float32)
    autoencoder = networks.autoencoder
    latent = torch.randn((1, 4, *options.latent), generator=torch.Generator().manual_seed(2)).to(device)
    layers = decoder_layers(autoencoder)
    whole = run_seamless(layers, latent, Cut((1, 1, 1)))
    # Random weights give an image of any contrast; it is scaled to the standard deviation of a CT, 500 HU.
    scale = 0.25 / whole.std()

    def hu(image: torch.Tensor) -> np.ndarray:
        return ((image - whole.mean()) * scale * HU).float().cpu().numpy()

    exact = hu(whole)
    tiled = [np.abs(hu(run_seamless(layers, latent, Cut(counts))) - exact).max() for counts in CUTS]
    middle = options.latent[0] // 2
    with torch.inference_mode():
        alone = hu(autoencoder.decode(latent[:, :, :middle]))
    inside = 4 * (middle - 4)
    seam = np.abs(alone[:, :, :inside] - exact[:, :, :inside]).max()
    autoencoder.to(half)
    rounded = hu(run_seamless(decoder_layers(autoencoder), latent.to(half), Cut((2, 2, 2))))
    for counts, value in zip(CUTS, tiled, strict=True):
        print(f"float32, tiles {counts}: max {value:.4f} HU")
    tell(
        {
            "max_hu": round(float(max(tiled)), 4),
            "mean_hu_half": round(float(np.abs(rounded - exact).mean()), 3),
            "max_hu_half": round(float(np.abs(rounded - exact).max()), 2),
            "max_hu_own_statistics": round(float(seam), 1),
            "half": str(half).removeprefix("torch."),
        }
    )


if __name__ == "__main__":
    main()
