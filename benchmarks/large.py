"""The decode of a large volume, alone: seconds, planned peak and real peak of memory.

    python -m benchmarks.large [--size 512 512 256] [--decode-gb 6] [--device cpu] [--plan-only]

Released layout, random weights and latent. The last line is JSON: ``seconds``, ``planned_gb`` (what
``memory_plan.py`` predicts for decoding), ``peak_gb`` (of the process: libraries, weights and the finished image as
well), ``above_start_gb`` (peak minus what the process held before decoding: to be compared with the plan), ``tiles``,
``work`` (multiplications as a multiple of those of one piece: what is computed again). --plan-only decodes nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.full_size import MODEL, Clock, measure, noise, stored_networks, tell
from SynthCTLib.autoencoder_layers import decoder_layers
from SynthCTLib.cards import load_card
from SynthCTLib.decoder import decode
from SynthCTLib.device import decoding_dtype, device_and_dtype, inference_dtype
from SynthCTLib.loading import load_networks
from SynthCTLib.memory_plan import make_plan, plan_for_cut
from SynthCTLib.networks import build_autoencoder, build_on_meta
from SynthCTLib.progress import Progress, ProgressEvent
from SynthCTLib.seamless import Cut
from SynthCTLib.store import ModelStore


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 256))
    parser.add_argument("--decode-gb", type=float, default=0, help="memory that decoding may take; 0: as usual")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--plan-only", action="store_true", help="tell the plan of --decode-gb; needs no such device")
    options = parser.parse_args()
    size, budget = tuple(options.size), int(options.decode_gb * 1e9)
    if options.plan_only:
        tell({"size": size, **planned(size, budget, torch.device(options.device))})
        return
    with stored_networks() as models:
        run = measure(decode_alone, models, size, budget, options.device)
    found = run.value
    peak = run.gpu_memory or run.memory
    tell(
        {
            "size": size,
            "seconds": round(run.seconds, 1),
            "planned_gb": round(found["planned"] / 1e9, 2),
            "peak_gb": round(peak / 1e9, 2),
            "above_start_gb": round((peak - found["before"]) / 1e9, 2),
            "tiles": found["tiles"],
            "work": round(found["work"], 2),
            "precision": found["precision"],
        }
    )


def planned(size: tuple[int, ...], budget: int, device: torch.device) -> dict[str, object]:
    """How the released decoder would be cut for a budget of bytes."""
    dtype = decoding_dtype(device, inference_dtype(device))
    arguments = load_card(MODEL).networks["autoencoder"]["arguments"]
    on_cpu = device.type == "cpu"  # where how a layer is computed depends on where its weights are
    autoencoder: Any = build_autoencoder(arguments) if on_cpu else build_on_meta("autoencoder", arguments)
    layers = decoder_layers(autoencoder.to(dtype))
    grid = tuple(n // 4 for n in size)
    plan = make_plan(layers, grid, 4, dtype, budget)
    whole = plan_for_cut(layers, grid, 4, dtype, Cut((1, 1, 1)), 0)
    return {
        "budget_gb": budget / 1e9,
        "planned_gb": round(plan.peak / 1e9, 2),
        "one_piece_gb": round(whole.peak / 1e9, 2),
        "tiles": plan.cut.counts,
        "work": round(plan.work / whole.work, 2),
        "precision": str(dtype).removeprefix("torch."),
    }


def decode_alone(models: Path, size: tuple[int, ...], budget: int, device_name: str) -> tuple[float, dict[str, object]]:
    """Seconds for decoding, and how it was planned."""
    device, card = torch.device(device_name), load_card(MODEL)
    networks = load_networks(card, ModelStore(models), device, inference_dtype(device))
    autoencoder, latent = networks.autoencoder, noise(size)
    _, dtype = device_and_dtype(autoencoder)
    del networks  # what the denoiser's weights take is no matter here
    before = torch.cuda.memory_allocated() if device.type == "cuda" else psutil.Process().memory_info().rss
    clock = Clock(device)
    decoded = decode(autoencoder, latent, 1.0, budget=budget or None, progress=Progress(tenths))
    seconds, plan = clock.look(), decoded.plan
    grid = tuple(latent.shape[2:])
    whole = plan_for_cut(decoder_layers(autoencoder), grid, int(latent.shape[1]), dtype, Cut((1, 1, 1)), 0)
    return seconds, {
        "planned": plan.peak,
        "before": before,
        "tiles": plan.cut.counts,
        "work": plan.work / whole.work,
        "precision": str(dtype).removeprefix("torch."),
    }


def tenths(event: ProgressEvent) -> None:
    """A line for each tenth of the work."""
    done = event.step * 10 // event.of
    if event.step and done > (event.step - 1) * 10 // event.of:
        print(f"{10 * done} %", flush=True)


if __name__ == "__main__":
    main()
