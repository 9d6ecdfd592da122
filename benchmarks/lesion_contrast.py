"""Is a lesion that is painted into a mask a lesion in the CT, and does the rest stay as it was?

    python -m benchmarks.lesion_contrast [--model FOLDER] [--config FILE] [--cases 9] [--diameter 22]

For each held-out case and each kind of lesion that has room in it, two CTs of the same seed are made: from the mask and
from the mask with one lesion more. ``inside``: mean change of HU within the lesion; ``contrast``: mean HU of the lesion
minus that of its organ within 8 mm around it; ``beside``: mean absolute change there; ``far``: the same in the rest of
the body, more than 20 mm away. Kinds that no held-out case has room for are measured in the labeled training cases,
which is told by ``seen``. Needs the prepared data of training. The last line is JSON: the table.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.full_size import tell
from SynthCTLib.cards import load_card
from SynthCTLib.device import choose_device, inference_dtype
from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.lesion import LesionEdit, default_hosts, put_lesion
from SynthCTLib.loading import load_networks
from SynthCTLib.store import ModelStore
from training.config import load_config
from training.prepare import read_cases
from training.scans import choose_cases, on_model_grid
from training.scorecard import without_nan
from training.subjects import synthesize

BESIDE_MM, FAR_MM = 8.0, 20.0
SCORES = ("inside", "contrast", "beside", "far")


def try_lesion(mask: np.ndarray, spacing: np.ndarray, lesion: int, diameter: float, seed: int) -> LesionEdit | None:
    """The mask with one lesion more, or None where it has no organ with room for it."""
    try:
        return put_lesion(mask, np.diag([*spacing, 1.0]), lesion, diameter, seed=seed)
    except InputError:
        return None


def compare(
    without: np.ndarray, with_lesion: np.ndarray, mask: np.ndarray, edit: LesionEdit, spacing: np.ndarray
) -> dict[str, float]:
    """The scores of a pair of CTs (int16 HU)."""
    lump = edit.labels != mask
    distance = ndimage.distance_transform_edt(~lump, sampling=spacing)
    hosts = np.isin(mask, (edit.host, *default_hosts(edit.lesion_id)))
    beside, far = hosts & ~lump & (distance <= BESIDE_MM), (mask > 0) & (distance > FAR_MM)
    change = with_lesion.astype(np.float32) - without
    return {
        "inside": float(change[lump].mean()),
        "contrast": float(with_lesion[lump].mean() - with_lesion[beside].mean()),
        "beside": float(np.abs(change[beside]).mean()),
        "far": float(np.abs(change[far]).mean()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("training/configs/embedded.json"))
    parser.add_argument("--model", help="folder of the model; without it, the config's export.folder")
    parser.add_argument("--cases", type=int, default=9, help="held-out cases, spread over those of the scorecard")
    parser.add_argument("--diameter", type=float, default=22.0, help="mm")
    options = parser.parse_args()
    config = load_config(options.config, [])
    card, device = load_card(options.model or config["export"]["folder"]), choose_device("auto")
    networks = load_networks(card, ModelStore(), device, inference_dtype(device))
    held_out = choose_cases(config, "val")
    chosen = [held_out[i] for i in np.linspace(0, len(held_out) - 1, options.cases).round().astype(int)]
    labeled = [m for m in read_cases(config["prepared"], "train") if m["case_id"] in config["evaluate"]["labeled"]]
    found: dict[tuple[int, bool], list[dict[str, float]]] = defaultdict(list)
    kinds = [label.id for label in load_vocabulary().lesions()]
    for seen, metas in ((False, chosen), (True, labeled)):
        for number, meta in enumerate(metas):
            _, mask, spacing = on_model_grid(config, meta)
            wanted = [kind for kind in kinds if not (seen and (kind, False) in found)]
            edits = [e for kind in wanted if (e := try_lesion(mask, spacing, kind, options.diameter, number))]
            if edits:
                plain = synthesize(networks, card, mask, spacing, number, card.defaults["steps"])
            for edit in edits:
                made = synthesize(networks, card, edit.labels, spacing, number, card.defaults["steps"])
                found[edit.lesion_id, seen].append(compare(plain, made, mask, edit, spacing))
            print(f"{meta['case_id']}: {len(edits)} lesions", flush=True)
    rows: list[dict[str, Any]] = []
    print(f"{'lesion':24}{'n':>4}" + "".join(f"{score:>10}" for score in SCORES) + "  seen in training")
    for (kind, seen), values in sorted(found.items()):
        name = load_vocabulary().by_id(kind).display_name
        means = {score: round(float(np.mean([v[score] for v in values])), 1) for score in SCORES}
        spread = {f"{score}_sd": round(float(np.std([v[score] for v in values])), 1) for score in SCORES}
        rows.append({"lesion": name, "seen": seen, "n": len(values), **means, **spread})
        print(f"{name:24}{len(values):4d}" + "".join(f"{means[s]:10.1f}" for s in SCORES) + f"  {seen}")
    tell(without_nan({"model": card.id, "diameter_mm": options.diameter, "rows": rows}))


if __name__ == "__main__":
    main()
