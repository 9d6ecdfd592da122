"""What several test folders need: a tiny random model that is complete on disk, a small phantom as segmentation, and
PyTorch with one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from Testing.library.model_samples import random_state, tiny_card

GRID = {
    "xy": {"multiple": 8, "min": 16, "max": 32},
    "z": {"multiple": 8, "min": 16, "max": 32},
    "square": True,
    "spacing_xy": [8.0, 24.0],
    "spacing_z": [8.0, 24.0],
    "fov_xy_min": 0,
    "defaults": {"*": {"size": [16, 16, 16], "spacing": [20.0, 20.0, 20.0]}},
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``card.json`` of a model with random weights, as small as MONAI's networks get, loaded like an embedded one."""
    folder = tmp_path_factory.mktemp("model")
    files = {
        part: {"name": f"{part}.safetensors", "sha256": None, "bytes": None, "source": None}
        for part in ("autoencoder", "unet", "controlnet")
    }
    card = tiny_card(
        folder,
        embedded=True,
        files=files,
        grid=GRID,
        latent={"channels": 4, "downsampling": 4, "scale_factor": 1.0},
        defaults={"steps": 2, "solver": "euler", "guidance": 0.0},
        presets={
            "draft": {"steps": 1, "solver": "euler"},
            "standard": {"steps": 2, "solver": "euler"},
            "best": {"steps": 3, "solver": "ab2"},
        },
    )
    for seed, part in enumerate(files):
        save_file(random_state(card, part, seed), folder / f"{part}.safetensors", metadata={"format": "pt"})
    return card.path


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    """A chest of boxes in MAISI ids, body included, 320 mm wide at 16 mm; its folder has a blank and an umlaut."""
    labels = np.zeros((20, 16, 18), np.uint8)
    labels[2:18, 2:14, :] = 200
    labels[4:8, 4:11, 4:16] = 28  # left upper lobe; arrays run toward the patient's right
    labels[12:16, 4:11, 4:16] = 30  # right upper lobe
    labels[9:11, 5:8, 5:12] = 115  # heart
    labels[9:11, 3:5, :] = 121  # spinal canal region
    labels[10:16, 4:11, 0:3] = 1  # liver
    folder = tmp_path / "Fälle neu"
    folder.mkdir()
    path = folder / "labels.nii.gz"
    nib.save(nib.Nifti1Image(labels, np.diag([16.0, 16.0, 16.0, 1.0])), path)
    return path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch with one thread: several may round sums in another order, and its profiler sees one alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
