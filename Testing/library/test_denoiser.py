"""Our order of calls gives what MONAI's forward methods give, and lets both networks learn."""

from __future__ import annotations

import pytest
import torch

from SynthCTLib.denoiser import control_residuals, embed_mask, predict
from Testing.library.small_networks import small_networks

LATENT = (1, 4, 8, 4, 4)


@pytest.mark.parametrize("family", ["rflow", "ddpm"])
def test_the_denoiser_agrees_with_monais_networks(family: str) -> None:
    networks = small_networks(family)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(LATENT, generator=generator)
    mask = (torch.rand((1, 8, 32, 16, 16), generator=generator) > 0.5).float()
    times, label = torch.tensor([412.5]), torch.tensor([1])
    spacing, top, bottom = (
        torch.tensor([[78.0, 78.0, 150.0]]),
        torch.tensor([[0.0, 100, 0, 0]]),
        torch.eye(4)[2:3] * 100,
    )
    with torch.no_grad():
        down, middle = networks.controlnet(x, times, mask, class_labels=label)
        expected = networks.unet(
            x,
            times,
            class_labels=label,
            down_block_additional_residuals=[residual.clone() for residual in down],
            mid_block_additional_residual=middle.clone(),
            top_region_index_tensor=top,
            bottom_region_index_tensor=bottom,
            spacing_tensor=spacing,
        )
        residuals = control_residuals(networks.controlnet, x, times, embed_mask(networks.controlnet, mask), label)
        ours = predict(networks.unet, x, times, residuals, spacing, label, top, bottom)
        alone = predict(networks.unet, x, times, None, spacing, label, top, bottom)
        expected_alone = networks.unet(
            x,
            times,
            class_labels=label,
            top_region_index_tensor=top,
            bottom_region_index_tensor=bottom,
            spacing_tensor=spacing,
        )
    assert torch.allclose(ours, expected, atol=1e-5)
    assert torch.allclose(alone, expected_alone, atol=1e-5)
    assert (ours - alone).abs().max() > 1e-2  # the mask has an influence in this test


def test_both_networks_receive_gradients_in_one_backward_pass() -> None:
    networks = small_networks("rflow")
    x, times, label = torch.randn(LATENT), torch.tensor([300.0]), torch.tensor([1])
    embedding = embed_mask(networks.controlnet, torch.ones(1, 8, 32, 16, 16))
    residuals = control_residuals(networks.controlnet, x, times, embedding, label)
    predict(networks.unet, x, times, residuals, torch.full((1, 3), 100.0), label).abs().sum().backward()
    for network in (networks.unet.conv_in, networks.controlnet.controlnet_cond_embedding):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
