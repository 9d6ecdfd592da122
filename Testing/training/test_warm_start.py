"""Larger networks start where the trained smaller ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from SynthCTLib.denoiser import control_residuals, embed_mask, predict
from SynthCTLib.errors import InputError
from SynthCTLib.networks import build_autoencoder, build_controlnet, build_unet
from Testing.training.small_runs import CONFIG, TRUNK
from training.config import load_config
from training.linear_start import linear_start
from training.warm_start import warm_start
from training.widen_autoencoder import widen_autoencoder
from training.widen_denoiser import check_widths, widen, widen_unet

SMALL, LARGE = 8, 16
LATENTS, MORE_LATENTS = 2, 4
SHARED = TRUNK | {"num_class_embeds": 128, "resblock_updown": False, "include_fc": True, "num_head_channels": [0, 8]}


def arguments(width: int, latents: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a U-Net and a ControlNet."""
    trunk = SHARED | {"in_channels": latents, "num_channels": [width, width], "norm_num_groups": width // 2}
    embedding = {"conditioning_embedding_in_channels": 8, "conditioning_embedding_num_channels": [4, 4, 8]}
    return trunk | {"out_channels": latents, "include_spacing_input": True}, trunk | embedding


def autoencoder_arguments(latents: int) -> dict[str, Any]:
    base = load_config(CONFIG, [])["network"]["autoencoder"]
    return base | {"num_channels": [16, 32, 32], "latent_channels": latents, "num_res_blocks": [1, 1, 1]}


def trained_like(network: torch.nn.Module) -> torch.nn.Module:
    """No weight of MONAI's start is left at zero."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.05)
    return network.eval()


def velocity(unet: Any, controlnet: Any, x: torch.Tensor, time: float) -> torch.Tensor:
    times, modality = torch.tensor([time]), torch.ones(1, dtype=torch.long)
    mask = torch.randint(0, 2, (1, 8, 32, 32, 32), generator=torch.Generator().manual_seed(3)).float()
    residuals = control_residuals(controlnet, x, times, embed_mask(controlnet, mask), modality)
    return predict(unet, x, times, residuals, torch.full((1, 3), 300.0), modality)


@pytest.mark.parametrize("time", [80.0, 400.0, 930.0])
@torch.no_grad()
def test_a_wider_denoiser_starts_with_the_velocity_of_the_trained_one(time: float) -> None:
    torch.manual_seed(0)
    unet, controlnet = (
        trained_like(build(a))
        for build, a in zip((build_unet, build_controlnet), arguments(SMALL, LATENTS), strict=True)
    )
    wide_unet, wide_controlnet = (
        build(a).eval() for build, a in zip((build_unet, build_controlnet), arguments(LARGE, MORE_LATENTS), strict=True)
    )
    widen_unet(wide_unet, unet.state_dict(), SMALL, LARGE, -1.0)
    widen(wide_controlnet, controlnet.state_dict(), SMALL, LARGE)
    x = torch.randn(1, MORE_LATENTS, 8, 8, 8)
    before = velocity(unet, controlnet, x[:, :LATENTS], time)
    after = velocity(wide_unet, wide_controlnet, x, time)
    # Not exactly: the time embedding has other frequencies.
    assert (after[:, :LATENTS] - before).square().mean().sqrt() < 0.02 * before.std()
    carried = torch.corrcoef(torch.stack([after[:, LATENTS:].flatten(), -x[:, LATENTS:].flatten()]))[0, 1]
    assert carried > 0.99


def test_a_denoiser_that_cannot_be_widened_is_refused() -> None:
    small, large = arguments(SMALL, LATENTS)[0], arguments(LARGE, MORE_LATENTS)[0]
    assert check_widths(large, small) == (SMALL, LARGE)
    with pytest.raises(InputError, match="norm_num_groups"):
        check_widths(large | {"norm_num_groups": 2}, small)
    with pytest.raises(InputError, match="one width"):
        check_widths(large | {"num_channels": [16, 32]}, small)
    with pytest.raises(InputError, match="raise num_channels"):
        widen_unet(build_unet(arguments(LARGE, 7)[0]), build_unet(small).state_dict(), SMALL, LARGE, -1.0)


def textured(seed: int) -> torch.Tensor:
    """(3, 1, 32, 32, 32) in [0, 1]: detail of all sizes, coarse detail stronger."""
    generator = torch.Generator().manual_seed(seed)
    parts = [
        torch.nn.functional.interpolate(torch.randn(3, 1, n, n, n, generator=generator), size=32, mode="trilinear") / n
        for n in (4, 8, 16, 32)
    ]
    return (torch.stack(parts).sum(0) + 0.5).clamp(0, 1)


@torch.no_grad()
def test_an_autoencoder_with_more_channels_keeps_the_latents_and_reconstructs_better() -> None:
    torch.manual_seed(0)
    patches, unseen = textured(1), textured(2)
    trained, wide = (build_autoencoder(autoencoder_arguments(n)).eval() for n in (4, 12))
    linear_start(trained, patches)
    widen_autoencoder(wide, trained, patches)
    before, after = trained.encode(unseen)[0], wide.encode(unseen)[0]
    error = (after[:, :4] - before).square().mean((0, 2, 3, 4)).sqrt() / before.std((0, 2, 3, 4))
    assert error.max() < 0.1
    lost, still_lost = ((m.decode(z) - unseen).abs().mean() for m, z in ((trained, before), (wide, after)))
    assert still_lost < 0.9 * lost
    with pytest.raises(InputError, match="larger number"):
        widen_autoencoder(trained, wide, patches)


def test_the_stage_writes_weights_that_the_networks_of_the_config_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.warm_start.PATCHES", 3)
    monkeypatch.setattr("training.warm_start.SIDE", 24)
    config = load_config(CONFIG, [])
    small, large = arguments(SMALL, LATENTS), arguments(LARGE, MORE_LATENTS)
    trained = [build_autoencoder(autoencoder_arguments(LATENTS)), build_unet(small[0]), build_controlnet(small[1])]
    linear_start(trained[0], textured(1))
    described = [autoencoder_arguments(LATENTS), *small]
    model = tmp_path / "model"
    model.mkdir()
    card = json.loads((Path(CONFIG).parents[2] / "Resources/models/synthct-embedded-v1/card.json").read_text())
    card["latent"]["channels"] = LATENTS
    for part, network, values in zip(card["files"], trained, described, strict=True):
        save_file({k: v.half().contiguous() for k, v in network.state_dict().items()}, model / f"{part}.safetensors")
        card["networks"][part] = {"arguments": values}
    (model / "card.json").write_text(json.dumps(card))
    prepared = tmp_path / "prepared"
    (prepared / "a").mkdir(parents=True)
    np.save(prepared / "a" / "ct.npy", (textured(1)[0, 0].numpy() * 2000 - 1000).astype(np.int16))
    case = {"case_id": "a", "split": "train", "group": "other", "modality": "ct", "spacing": [2, 2, 2]}
    (prepared / "cases.json").write_text(json.dumps({"cases": [case]}))
    config["network"] = dict(
        zip(("autoencoder", "unet", "controlnet"), (autoencoder_arguments(MORE_LATENTS), *large), strict=True)
    )
    config |= {"prepared": str(prepared), "warm_start": {"model": str(model), "folder": str(tmp_path / "start")}}
    warm_start(config)
    builders = {"autoencoder": build_autoencoder, "unet": build_unet, "controlnet": build_controlnet}
    for part, build in builders.items():
        build(config["network"][part]).load_state_dict(load_file(tmp_path / "start" / f"{part}.safetensors"))
