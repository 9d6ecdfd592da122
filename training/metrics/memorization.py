"""Are synthetic CTs copies of training patients? Nearest neighbors, with controls for both kinds of error.

Likeness is the dot product of the embeddings of an encoder that was trained to recognize patients
(``contrastive.py``), the CT mirrored or not. A fifth of the training patients are kept from the encoder, for
calibration: the threshold is the 95th percentile of how like each of them is to the nearest other training patient, so
that 5 % of patients who were never seen look like a copy of somebody. A threshold from training patients that the
encoder was taught to tell apart, or from a search among fewer patients than a made CT is compared with, would be too
low: nearest neighbors among many are nearer.

Negative control: the held-out patients, who have no part in the threshold; only a share of copies above theirs says
that something was memorized. Positive control: how many copies are found when turned, mirrored and noisy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from training.files import load_checkpoint, save_checkpoint
from training.metrics.canonical import canonical
from training.metrics.contrastive import SIDE, Encoder, train_encoder

WINDOW = (-300.0, 400.0)
PERCENTILE = 95
EVERY = 5
"""One of so many training patients is kept from the encoder."""


def as_input(volumes: Iterable[np.ndarray]) -> torch.Tensor:
    """(n, 1, 32, 32, 32): bodies scaled to one box, −300…400 HU → 0…1."""
    return torch.from_numpy(np.stack([canonical(hu, SIDE, *WINDOW) for hu in volumes]))[:, None]


def encoder_of(training: torch.Tensor, steps: int, seed: int, folder: Path) -> Encoder:
    """The encoder trained on these volumes; kept in ``folder``, so that it is trained once."""
    digest = hashlib.sha256(training.numpy().tobytes() + f"{steps} {seed}".encode()).hexdigest()[:16]
    path = folder / f"copy-encoder-{digest}.pt"
    state = load_checkpoint(path)
    if state is None:
        encoder = train_encoder(training, steps, seed)
        save_checkpoint(path, encoder.state_dict())
        return encoder
    encoder = Encoder().eval()
    encoder.load_state_dict(state)
    return encoder


def for_calibration(count: int, seed: int) -> np.ndarray:
    """(count,) bool: which training patients are kept from the encoder, at least one."""
    kept = np.zeros(count, bool)
    kept[np.random.default_rng(seed).permutation(count)[: max(1, count // EVERY)]] = True
    return kept


class CopyFilter:
    """Knows the training cases and from which likeness on a CT is a copy of one."""

    def __init__(self, encoder: Encoder, training: torch.Tensor, unseen: np.ndarray) -> None:
        """``unseen`` (n,) bool: training cases that the encoder was not trained on."""
        self.encoder = encoder
        self.training = torch.stack([self._embed(training), self._embed(training.flip(2))])
        likeness = self.likeness(training[torch.from_numpy(unseen)])
        likeness[np.arange(len(likeness)), np.flatnonzero(unseen)] = -1  # oneself
        self.calibration = likeness.max(1)
        self.threshold = float(np.percentile(self.calibration, PERCENTILE))

    def likeness(self, volumes: torch.Tensor) -> np.ndarray:
        """(volumes, training cases), the better one of both mirrorings."""
        return (self._embed(volumes) @ self.training.transpose(1, 2)).amax(0).numpy()

    def copies(self, volumes: torch.Tensor) -> np.ndarray:
        """(volumes,) bool: which ones are copies of a training case."""
        return self.likeness(volumes).max(1) > self.threshold

    @torch.inference_mode()
    def _embed(self, volumes: torch.Tensor) -> torch.Tensor:
        return self.encoder(volumes)


def disguise(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy that should be found: turned by up to 5° about each axis, mirrored or not, with noise of 20 HU."""
    turned = hu.astype(np.float32)
    for axes in ((0, 1), (0, 2), (1, 2)):
        turned = ndimage.rotate(turned, rng.uniform(-5, 5), axes, reshape=False, order=1, cval=-1000)
    turned += rng.normal(0, 20, hu.shape).astype(np.float32)
    return turned[::-1] if rng.random() < 0.5 else turned


def memorization(
    known: CopyFilter, made: torch.Tensor, held_out: torch.Tensor, disguised: torch.Tensor
) -> dict[str, float]:
    """Share of made CTs that are copies (``copies``), of held-out patients that look like one (``control``) and of
    disguised training cases that are found (``positive_control``); share of training cases with a copy."""
    likeness = known.likeness(made)
    return {
        "copies": float((likeness.max(1) > known.threshold).mean()),
        "control": float(known.copies(held_out).mean()),
        "positive_control": float(known.copies(disguised).mean()),
        "calibration_control": float((known.calibration > known.threshold).mean()),
        "training_cases_copied": float((likeness.max(0) > known.threshold).mean()),
        "threshold": known.threshold,
        "highest_likeness": float(likeness.max()),
        "n_training": len(known.training[0]),
        "n_calibration": len(known.calibration),
        "n_held_out": len(held_out),
    }
