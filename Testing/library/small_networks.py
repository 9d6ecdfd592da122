"""Small random MAISI networks for tests; what MONAI initializes with zeros is given values, so that it can matter."""

from __future__ import annotations

import torch
from torch import nn

from SynthCTLib.networks import Networks, build_autoencoder, build_controlnet, build_unet

TRUNK = {
    "spatial_dims": 3,
    "in_channels": 4,
    "num_channels": [8, 16, 16],
    "attention_levels": [False, False, True],
    "num_head_channels": [0, 0, 8],
    "num_res_blocks": 1,
    "norm_num_groups": 8,
    "use_flash_attention": False,
}
RFLOW = {"num_class_embeds": 128, "resblock_updown": True, "include_fc": True}
DDPM = {"resblock_updown": False, "include_fc": False}
AUTOENCODER = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "latent_channels": 4,
    "num_channels": [4, 8, 8],
    "num_res_blocks": [1, 1, 1],
    "norm_num_groups": 4,
    "attention_levels": [False, False, False],
    "with_encoder_nonlocal_attn": False,
    "with_decoder_nonlocal_attn": False,
    "num_splits": 1,
    "save_mem": False,
}


def small_autoencoder(**changes: object) -> nn.Module:
    """A decoder of a few hundred weights, downsampling by 4."""
    torch.manual_seed(3)
    return build_autoencoder(AUTOENCODER | changes).eval()


def small_networks(family: str) -> Networks:
    """Networks of the rflow (classes) or ddpm (body regions) family; the grid is a multiple of 16."""
    torch.manual_seed(7)
    trunk = TRUNK | (RFLOW if family == "rflow" else DDPM)
    regions = family == "ddpm"
    unet = build_unet(
        trunk
        | {
            "out_channels": 4,
            "include_spacing_input": True,
            "include_top_region_index_input": regions,
            "include_bottom_region_index_input": regions,
        }
    )
    controlnet = build_controlnet(
        trunk | {"conditioning_embedding_in_channels": 8, "conditioning_embedding_num_channels": [4, 8, 8]}
    )
    with torch.no_grad():
        for parameter in (*unet.parameters(), *controlnet.parameters()):
            if not parameter.any():
                parameter.normal_(std=0.1)
    return Networks(small_autoencoder(), unet.eval(), controlnet.eval(), 1.0)
