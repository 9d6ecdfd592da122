"""The decode of a large volume, alone: seconds, planned peak and real peak of memory.

    python -m benchmarks.large [--size 512 512 256] [--decode-gb 6] [--device cpu]

Released layout, random weights and latent. The last line is JSON: ``seconds``, ``planned_gb`` (what
``memory_plan.py`` predicts for decoding), ``peak_gb`` (of the process: libraries, weights and the finished image as
well), ``above_start_gb`` (peak minus what the process held before decoding: to be compared with the plan), ``tiles``,
``work`` (multiplications as a multiple of those of one piece: what is computed again).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import psutil
import torch

from benchmarks.full_size import MODEL, Clock, measure, noise, stored_networks, tell
from SynthCTLib.autoencoder_layers import decoder_layers
from SynthCTLib.cards import load_card
from SynthCTLib.decoder import decode
from SynthCTLib.device import device_and_dtype, inference_dtype
from SynthCTLib.loading import load_networks
from SynthCTLib.memory_plan import plan_for_cut
from SynthCTLib.progress import Progress, ProgressEvent
from SynthCTLib.seamless import Cut
from SynthCTLib.store import ModelStore


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 256))
    parser.add_argument("--decode-gb", type=float, default=0, help="memory that decoding may take; 0: as usual")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    size, budget = tuple(options.size), int(options.decode_gb * 1e9)
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
