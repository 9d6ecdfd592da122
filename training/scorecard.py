"""The scorecard: every score of the made CTs beside the same score of real ones, as plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.metrics.coherence import coherence
from training.metrics.coverage import coverage, precision, recall
from training.metrics.diversity import diversity_gap
from training.metrics.extractors import Extractor
from training.metrics.features3d import RandomConvolutions3d
from training.metrics.following import following
from training.metrics.frechet import frechet_distance, kernel_distance
from training.metrics.halves import distance_of_halves, score_of_halves
from training.metrics.memorization import (
    CopyFilter,
    as_input,
    disguise,
    encoder_of,
    for_calibration,
    memorization,
)
from training.metrics.organ_hu import organ_hu_in_range, organ_median_error
from training.metrics.slices import PLANES
from training.metrics.spectrum import spectrum_gap
from training.metrics.volumes import volume_distances
from training.scans import Scan

PlaneFeatures = dict[str, list[np.ndarray]]  # plane → features of each volume
DISGUISED = 20  # training cases in the positive control


@dataclass(frozen=True)
class Material:
    """What is compared.

    ``paired`` says that the i-th made CT was made from the mask of the i-th real one; ``others`` are real CTs of other
    patients, as many of each part of the body as far as there are.
    """

    made: list[Scan]
    real: list[Scan]
    others: list[Scan]
    paired: bool


def features_of(extractor: Extractor, scans: Sequence[Scan]) -> PlaneFeatures:
    """Features of each plane of each volume."""
    found = [extractor(scan.hu, scan.spacing) for scan in scans]
    return {plane: [features[plane] for features in found] for plane in PLANES}


def distances_in_halves(material: Material, extractors: Sequence[Extractor], rounds: int, seed: int) -> dict[str, dict]:
    """``frechet`` and ``kernel`` distance by extractor and plane: halves of the cases against each other
    (``metrics/halves.py``) with the real-real floor."""
    result: dict[str, dict] = {"frechet": {}, "kernel": {}}
    groups = [scan.group for scan in material.real]
    for extractor in extractors:
        made, real = (features_of(extractor, scans) for scans in (material.made, material.real))
        for name, distance in (("frechet", frechet_distance), ("kernel", kernel_distance)):
            result[name][extractor.name] = {
                plane: distance_of_halves(distance, real[plane], made[plane], groups, material.paired, rounds, seed)
                for plane in PLANES
            }
        with_mean_and_ratio(result["frechet"][extractor.name])
    return result


def distances_same_cases(material: Material, extractors: Sequence[Extractor]) -> dict[str, dict]:
    """``frechet_same_cases``: all made against all real CTs, which are of the same cases where paired; floor: the
    distance of other real patients."""
    result = {}
    for extractor in extractors:
        made, real, others = (features_of(extractor, s) for s in (material.made, material.real, material.others))
        table = {}
        for plane in PLANES:
            everyone = np.concatenate(real[plane])
            table[plane] = {
                "value": frechet_distance(everyone, np.concatenate(made[plane])),
                "floor": frechet_distance(everyone, np.concatenate(others[plane])),
            }
        with_mean_and_ratio(table)
        result[extractor.name] = table
    return {"frechet_same_cases": result}


def with_mean_and_ratio(table: dict[str, dict]) -> None:
    """Add the ``mean`` over the planes, and to each entry the ``ratio`` of value and floor."""
    table["mean"] = {key: float(np.mean([table[p][key] for p in PLANES])) for key in ("value", "floor")}
    for entry in table.values():
        entry["ratio"] = entry["value"] / entry["floor"]


def spread(material: Material, extractors: Sequence[Extractor], rounds: int, seed: int) -> dict[str, dict]:
    """Precision, recall and coverage by extractor, a volume being one point; ``floor``: the real halves."""
    groups = [scan.group for scan in material.real]
    result = {}
    for extractor in extractors:
        made, real = (_points(features_of(extractor, scans)) for scans in (material.made, material.real))
        result[extractor.name] = {
            score.__name__: score_of_halves(score, real, made, groups, material.paired, rounds, seed)
            for score in (precision, recall, coverage)
        }
    return {"spread": result}


def _points(features: PlaneFeatures) -> list[np.ndarray]:
    """(1, d) of each volume: the mean features of its slices, planes one after the other."""
    volumes = zip(*(features[plane] for plane in PLANES), strict=True)
    return [np.concatenate([slices.mean(0) for slices in planes])[None] for planes in volumes]


def distances_3d(material: Material, rounds: int, seed: int) -> dict[str, dict]:
    """Fréchet distance of features of whole volumes, in halves as ``frechet``."""
    extractor = RandomConvolutions3d()
    made, real = ([extractor(scan.hu) for scan in scans] for scans in (material.made, material.real))
    groups = [scan.group for scan in material.real]
    found = distance_of_halves(frechet_distance, real, made, groups, material.paired, rounds, seed)
    return {"frechet_3d": {extractor.name: {**found, "ratio": found["value"] / found["floor"]}}}


def without_nan(value: Any) -> Any:
    """The same with None in place of what is not a number, which JSON does not know."""
    if isinstance(value, dict):
        return {key: without_nan(v) for key, v in value.items()}
    if isinstance(value, list):
        return [without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def anatomy(material: Material) -> dict[str, dict]:
    """Organ densities and agreement with the masks; empty where the CTs were not made from masks."""
    masks = [scan.mask for scan in material.real if scan.mask is not None]
    if not material.paired:
        return {}
    made, real = [scan.hu for scan in material.made], [scan.hu for scan in material.real]
    return {
        "organ_hu_in_range": organ_hu_in_range(made, real, masks),
        "organ_median_error_hu": organ_median_error(made, real, masks),
        "following": following(made, real, masks),
    }


def structure(material: Material, seed: int) -> dict[str, dict]:
    """Diversity, coherence of slices, spectrum, sizes of body, bone and air."""
    made, real = [scan.hu for scan in material.made], [scan.hu for scan in material.real]
    groups = [scan.group for scan in material.real] if material.paired else None
    ours, theirs, others = (
        [(scan.hu, scan.spacing) for scan in scans] for scans in (material.made, material.real, material.others)
    )
    return {
        "ms_ssim": diversity_gap(made, real, groups, seed),
        "coherence": coherence(made, real),
        "spectrum": spectrum_gap(ours, theirs),
        "volumes_ml": volume_distances(ours, theirs, others),
    }


def privacy(
    material: Material, training: list[np.ndarray], encoder_steps: int, seed: int, folder: Path
) -> tuple[dict[str, float], np.ndarray]:
    """(Scores of memorization, which of the made CTs are copies), with the real CTs as held-out patients."""
    made, real, seen = (
        as_input(hus) for hus in ([s.hu for s in material.made], [s.hu for s in material.real], training)
    )
    unseen = for_calibration(len(seen), seed)
    encoder = encoder_of(seen[torch.from_numpy(~unseen)], encoder_steps, seed, folder)
    known = CopyFilter(encoder, seen, unseen)
    rng = np.random.default_rng(seed)
    disguised = as_input(disguise(training[i], rng) for i in rng.permutation(len(training))[:DISGUISED])
    return memorization(known, made, real, disguised), known.copies(made)


def judge(
    material: Material,
    extractors: Sequence[Extractor],
    training: list[np.ndarray],
    settings: Mapping[str, Any],
    seed: int,
    run: Path,
) -> tuple[dict[str, Any], np.ndarray]:
    """(All scores of the made CTs, which of them are copies).

    Args:
        training: HU of the training cases.
        settings: ``rounds`` of random halves, ``copy_encoder_steps``.
        run: folder that keeps the encoder which recognizes training cases.
    """
    memorized, copies = privacy(material, training, settings["copy_encoder_steps"], seed, run)
    scores = {
        **distances_in_halves(material, extractors, settings["rounds"], seed),
        **distances_same_cases(material, extractors),
        **spread(material, extractors, settings["rounds"], seed),
        **distances_3d(material, settings["rounds"], seed),
        **anatomy(material),
        **structure(material, seed),
        "memorization": memorized,
    }
    return scores, copies
