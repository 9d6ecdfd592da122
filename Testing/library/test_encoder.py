"""Encoding an image gives the autoencoder's mean, whatever the memory."""

from __future__ import annotations

import torch

from SynthCTLib.autoencoder_layers import encoder_layers
from SynthCTLib.encoder import encode_image
from SynthCTLib.memory_plan import make_plan
from Testing.library.small_networks import small_autoencoder


def test_the_latent_is_the_mean_of_the_autoencoder_in_one_piece_and_in_tiles() -> None:
    autoencoder, image = small_autoencoder(), torch.rand(192, 32, 40)
    with torch.inference_mode():
        mean, _ = autoencoder.encode(image[None, None])  # type: ignore[operator]
    layers = encoder_layers(autoencoder)  # type: ignore[arg-type]
    peak = make_plan(layers, (192, 32, 40), 1, torch.float32, 10**12).peak
    assert make_plan(layers, (192, 32, 40), 1, torch.float32, peak // 2).cut.number > 1
    for budget in (10**12, peak // 2):
        latent = encode_image(autoencoder, image, budget)  # type: ignore[arg-type]
        assert latent.shape == (1, 4, 48, 8, 10)
        assert (latent - mean).abs().max() < 1e-5
