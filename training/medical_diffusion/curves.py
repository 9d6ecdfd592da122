"""Error and codes in use of the VQ-GAN over its training, from the stage's TensorBoard record, as a figure."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from SynthCTLib.errors import InputError
from training.config import Config

PANELS = {
    "val_l1": "mean error of held-out volumes, in [-1, 1]",
    "val_codes": "codes in use on held-out volumes",
    "gan": "-D of reconstructions, both critics",
}


def write_curves(config: Config, path: Path) -> None:
    """Write a PNG, atomically, with a line where the critics open.

    Raises InputError where the stage *vqgan* has left no record.
    """
    record = EventAccumulator(str(Path(config["run"]) / "tensorboard" / "vqgan"))
    record.Reload()
    known = record.Tags()["scalars"]
    if "val_l1" not in known:
        raise InputError("The stage 'vqgan' has left no record to draw: train it first.")
    shown = {key: title for key, title in PANELS.items() if key in known}
    figure = Figure(figsize=(3.6 * len(shown), 3.0), layout="constrained")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for axis, (key, title) in zip(axes, shown.items(), strict=True):
        events = record.Scalars(key)
        axis.plot([event.step for event in events], [event.value for event in events], marker="o", markersize=3)
        axis.axvline(config["vqgan"]["adversarial_from"], color="gray", linestyle="--", linewidth=1)
        axis.set_title(title, fontsize=8)
        axis.set_xlabel("step (dashed: the critics open)", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format="png", dpi=100)
    part.replace(path)
