"""Tiles against the whole volume: how far apart are the images, and how much further with statistics of each tile?

    python -m benchmarks.seam [--latent 40 16 12] [--device cpu]

Released layout, random weights, several tilings, with and without stored features. The last line is JSON: ``max_hu``
(float32, largest difference over all tilings), ``mean_hu_half`` (float16 in tiles against float32 in one piece, mean
difference), ``mean_hu_bfloat16`` (the same with bfloat16, which CPUs with AMX use), ``max_hu_own_statistics`` (half of
the volume decoded alone, farther from the cut than the kernels reach: what statistics of each tile alone change).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks.full_size import random_networks, tell
from SynthCTLib.autoencoder_layers import decoder_layers
from SynthCTLib.seamless import Cut, barriers, run_seamless

CUTS = ((2, 1, 1), (1, 3, 2), (3, 3, 3), (5, 4, 2))
HU = 2000.0
REACH = 12
"""Latent voxels that the released decoder looks to each side, rounded up (5 + 1 + 2.5 + 0.5 + 1.5)."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latent", type=int, nargs=3, default=(40, 16, 12))
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    _, networks = random_networks(device, torch.float32)
    autoencoder = networks.autoencoder
    weights = {key: value.clone() for key, value in autoencoder.state_dict().items()}
    latent = torch.randn((1, 4, *options.latent), generator=torch.Generator().manual_seed(2)).to(device)
    layers = decoder_layers(autoencoder)
    whole = run_seamless(layers, latent, Cut((1, 1, 1)))
    # Random weights give an image of any contrast; it is scaled to the standard deviation of a CT, 500 HU.
    scale = 0.25 / whole.std()

    def hu(image: torch.Tensor) -> np.ndarray:
        return ((image - whole.mean()) * scale * HU).float().cpu().numpy()

    exact = hu(whole)
    tiled = {
        (counts, bool(kept)): np.abs(hu(run_seamless(layers, latent, Cut(counts), kept)) - exact).max()
        for counts in CUTS
        for kept in ((), tuple(barriers(layers)))
    }
    middle = options.latent[0] // 2
    with torch.inference_mode():
        alone = hu(autoencoder.decode(latent[:, :, :middle]))
    inside = 4 * (middle - REACH)
    seam = np.abs(alone[:, :, :inside] - exact[:, :, :inside]).max()
    half = {}
    for dtype in (torch.float16, torch.bfloat16):
        autoencoder.to(dtype)
        rounded = hu(run_seamless(decoder_layers(autoencoder), latent.to(dtype), Cut((2, 2, 2))))
        half[dtype] = np.abs(rounded - exact)
        autoencoder.float().load_state_dict(weights)
    for (counts, kept), value in tiled.items():
        print(f"float32, tiles {counts}, features {'stored' if kept else 'computed again'}: max {value:.4f} HU")
    tell(
        {
            "max_hu": round(float(max(tiled.values())), 4),
            "mean_hu_half": round(float(half[torch.float16].mean()), 3),
            "max_hu_half": round(float(half[torch.float16].max()), 2),
            "mean_hu_bfloat16": round(float(half[torch.bfloat16].mean()), 3),
            "max_hu_own_statistics": round(float(seam), 1),
        }
    )


if __name__ == "__main__":
    main()
