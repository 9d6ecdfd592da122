"""Does ``torch.compile`` pay for itself? A step of the denoiser as it is and compiled, in one process.

    OMP_NUM_THREADS=1 python -m benchmarks.compiled [--size 128 128 64] [--steps 5] [--device cpu]

Networks of the released layout (random weights) in the number format that the engine takes on the device. The steps of
both take turns, so that what else runs on the machine slows both alike; compiling is timed apart. The last line is
JSON: ``ratio`` (seconds of a step as it is / compiled, medians), ``compile_seconds`` (the first compiled step less a
later one), ``pays_after_steps`` (steps that win back the time to compile; null where compiled ones are not faster) and
``difference`` (of the predictions, root mean square, relative).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.full_size import MODEL, SPACING, Clock, noise, random_mask, stored_networks, tell
from SynthCTLib.cards import load_card
from SynthCTLib.conditions import build_conditions
from SynthCTLib.denoiser import control_residuals, predict
from SynthCTLib.device import inference_dtype
from SynthCTLib.embedding import embed_labels
from SynthCTLib.loading import load_networks
from SynthCTLib.store import ModelStore

Step = Callable[[], torch.Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(128, 128, 64))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    clock = Clock(device)
    with stored_networks() as models, torch.inference_mode():
        plain = step_of(models, tuple(options.size), device)
        compiled = torch.compile(plain, dynamic=False)
        off, first = _difference(plain, compiled, clock)
        seconds: dict[str, list[float]] = {"plain": [], "compiled": []}
        for _ in range(options.steps):
            for name, step in (("plain", plain), ("compiled", compiled)):
                clock.look()
                step()
                seconds[name].append(clock.look())
    for name, measured in seconds.items():
        spread = f"{min(measured):.3f}-{max(measured):.3f}"
        print(f"{name:9} {statistics.median(measured):.3f} s a step ({spread}), {len(measured)} steps")
    before, after = (statistics.median(seconds[name]) for name in ("plain", "compiled"))
    compiling, gain = first - after, before - after
    tell(
        {
            "ratio": round(before / after, 3),
            "compile_seconds": round(compiling, 1),
            "pays_after_steps": round(compiling / gain) if gain > 0 else None,
            "difference": round(off, 4),
            "size": options.size,
            "device": options.device,
            "threads": torch.get_num_threads(),
        }
    )


def step_of(models: Path, size: tuple[int, ...], device: torch.device) -> Step:
    """One evaluation of ControlNet and U-Net, everything that does not depend on the step computed before."""
    dtype, card = inference_dtype(device), load_card(MODEL)
    networks = load_networks(card, ModelStore(models), device, dtype)
    given = build_conditions(card.conditioning, SPACING).to(device, dtype)
    embedding = embed_labels(networks.controlnet, torch.from_numpy(random_mask(size))).to(device, dtype)
    latent, times = noise(size).to(device, dtype), torch.full((1,), 500.0, device=device)

    def step() -> torch.Tensor:
        residuals = control_residuals(networks.controlnet, latent, times, embedding, given.class_label)
        return predict(
            networks.unet,
            latent,
            times,
            residuals,
            spacing=given.spacing,
            class_labels=given.class_label,
            top_region=given.top_region,
            bottom_region=given.bottom_region,
        )

    return step


def _difference(plain: Step, compiled: Step, clock: Clock) -> tuple[float, float]:
    """How far the compiled prediction is off, and the seconds of the first compiled step."""
    expected = plain()
    clock.look()
    found = compiled()
    first = clock.look()
    return float((found - expected).float().norm() / expected.float().norm()), first


if __name__ == "__main__":
    main()
