"""Radial power spectrum: does the CT have as much detail of each size as a real one?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

BINS = np.linspace(0.005, 0.085, 17)  # cycles per mm; the coarsest grids here end at 0.09
HU = 1000.0


def radial_power(hu: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """(16,) log10 of the mean power density per shell of 0.005…0.085 cycles/mm (Hann window, HU/1000, without mean).

    nan for shells beyond the grid's Nyquist frequency.
    """
    values = np.clip(hu, -1000, 1000).astype(np.float32) / HU
    window = np.ones(1, np.float32)
    for axis, n in enumerate(values.shape):
        shape = [1, 1, 1]
        shape[axis] = n
        window = window * np.hanning(n).astype(np.float32).reshape(shape)
    values = (values - np.average(values, weights=window)) * window
    power = np.abs(np.fft.rfftn(values)) ** 2 * np.prod(spacing) / (window**2).sum()
    frequencies = [np.fft.fftfreq(n, s) for n, s in zip(values.shape[:2], spacing[:2], strict=True)]
    frequencies.append(np.fft.rfftfreq(values.shape[2], spacing[2]))
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*frequencies, indexing="ij", sparse=True)))
    shell = np.digitize(radius.ravel(), BINS)
    total = np.bincount(shell, power.ravel(), len(BINS) + 1)[1:-1]
    count = np.bincount(shell, minlength=len(BINS) + 1)[1:-1]
    reachable = (BINS[1:] <= 0.5 / max(spacing)) & (count > 0)
    return np.where(reachable, np.log10(np.maximum(total, 1e-12) / np.maximum(count, 1)), np.nan)


def spectrum_gap(
    made: Sequence[tuple[np.ndarray, Sequence[float]]], real: Sequence[tuple[np.ndarray, Sequence[float]]]
) -> dict[str, float | list[float]]:
    """Mean distance (``gap``, decades of power) of the two mean spectra, and the spectra."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice")  # shells that no grid reaches stay nan
        ours, theirs = (np.nanmean([radial_power(hu, s) for hu, s in volumes], axis=0) for volumes in (made, real))
    return {
        "gap": float(np.nanmean(np.abs(ours - theirs))),
        "cycles_per_mm": [round(float(f), 4) for f in (BINS[1:] + BINS[:-1]) / 2],
        "log10_power": [round(float(v), 3) for v in ours],
        "real_log10_power": [round(float(v), 3) for v in theirs],
    }
