"""Small patients with a cord and a mandible, prepared as the stage *prepare* does, and configs to go with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.config import load_config
from training.files import write_json

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
STRUCTURES = {"spinal cord": {"labels": [121]}, "mandible": {"labels_extra": [213]}}


def write_patients(prepared: Path, count: int) -> None:
    """``count`` cases of split ``val``: an oval neck with a cord in a ring of bone and an arch of bone in front."""
    cases = []
    for number in range(count):
        name = f"patient_{number}"
        folder = prepared / name
        folder.mkdir(parents=True)
        hu, labels, extra = _neck(np.random.default_rng(number))
        np.save(folder / "ct.npy", hu)
        np.save(folder / "labels.npy", labels)
        np.save(folder / "labels_extra.npy", extra)
        affine = np.diag([16.0, 16.0, 16.0, 1.0]).tolist()
        meta = {"case_id": name, "patient": name, "split": "val", "group": "openkbp", "region": ["head", "neck"]}
        cases.append({**meta, "spacing": [16.0] * 3, "affine": affine, "files": {"ct.npy": str(number)}})
    write_json(prepared / "cases.json", {"cases": cases, "left_out": []})


def _neck(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(HU int16, labels, extra labels) of 32³ voxels."""
    x, y, z = np.meshgrid(*(np.arange(32.0),) * 3, indexing="ij")
    inside = ((x - 15.5) / 12) ** 2 + ((y - 15.5) / 13) ** 2 < 1
    ring = np.hypot(x - 15.5, y - 9.5)
    arch = np.hypot(x - 15.5, y - 15.5)
    cord = ring < 2.5
    jaw = (arch > 7) & (arch < 10) & (y > 18) & (z > 14) & (z < 14 + rng.integers(6, 12))
    hu = np.where(inside, 40.0, -1000.0)
    hu[(ring < 4.5) & ~cord | jaw] = 700
    hu += inside * rng.normal(0, 10, hu.shape)
    return hu.astype(np.int16), np.where(cord, 121, 0).astype(np.uint8), np.where(jaw, 213, 0).astype(np.uint8)


def small_config(name: str, tmp_path: Path, model: Path) -> dict:
    """The shipped config ``name``, on the patients of :func:`write_patients`, with tiny networks and few steps."""
    config = load_config(CONFIGS / f"{name}.json", [])
    other = tmp_path / "generator"
    write_json(other / "cases.json", {"cases": [{"case_id": "somebody", "split": "train"}], "left_out": []})
    page = tmp_path / "page.md"
    page.write_text(f"# Words\n<!-- {name}: begin -->\nbefore\n<!-- {name}: end -->\nafter\n")
    config |= {
        "prepared": str(tmp_path / "prepared"), "splits": ["val"], "run": str(tmp_path / "run"),
        "folds": 2, "test_folds": [0, 1],
        "out": str(tmp_path / "card.json"), "page": str(page), "figure": str(tmp_path / "figure.png"),
        "accelerator": "cpu", "spacing": [16.0, 16.0, 16.0], "structures": STRUCTURES, "seeds": [0],
        "shares": [0.5, 1.0],
        "generator": {"model": str(model.parent), "preset": "draft", "trained_on": str(other), "seen": ["train"]},
    }  # fmt: skip
    config["training"] |= {"steps": 1, "patch": [16, 16, 16], "precision": "32-true"}
    return config
