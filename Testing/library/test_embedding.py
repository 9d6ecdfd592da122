"""The conditioning embedding of a label map, in tiles, is what ControlNet computes from all channels at once."""

from __future__ import annotations

import pytest
import torch

from SynthCTLib import embedding
from SynthCTLib.conditioning import encode_mask
from SynthCTLib.denoiser import embed_mask
from SynthCTLib.embedding import embed_labels
from SynthCTLib.errors import ResourceError
from SynthCTLib.networks import build_controlnet
from Testing.library.small_networks import RFLOW, TRUNK, small_networks

PRIOR = {"1": 100.0, "28": -850.0, "200": 20.0}


def labels(size: tuple[int, int, int]) -> torch.Tensor:
    return torch.randint(0, 201, size, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("tile", [8, 12, 20, 128])
@pytest.mark.parametrize("size", [(32, 16, 48), (20, 36, 28)])
def test_tiles_give_the_embedding_of_the_whole(
    tile: int, size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    controlnet = small_networks("rflow").controlnet
    with torch.no_grad():
        whole = embed_mask(controlnet, encode_mask(labels(size)[None]))
    monkeypatch.setattr(embedding, "TILE", tile)
    tiled = embed_labels(controlnet, labels(size))
    assert tiled.shape == whole.shape
    assert whole.std() > 0.01
    assert (tiled - whole).abs().max() < 1e-5


def test_the_typical_density_of_labels_is_a_ninth_channel() -> None:
    arguments = {"conditioning_embedding_in_channels": 9, "conditioning_embedding_num_channels": [4, 8, 8]}
    controlnet = build_controlnet(TRUNK | RFLOW | arguments)
    with torch.no_grad():
        for parameter in controlnet.parameters():
            if not parameter.any():
                parameter.normal_(std=0.3)
        whole = embed_mask(controlnet, encode_mask(labels((16, 16, 16))[None], PRIOR))
    assert (embed_labels(controlnet, labels((16, 16, 16)), PRIOR) - whole).abs().max() < 1e-5
    assert (embed_labels(controlnet, labels((16, 16, 16)), {"1": 0.0}) - whole).abs().max() > 1e-4


def test_running_out_of_memory_is_answered_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(embedding, "run_seamless", fail)
    with pytest.raises(ResourceError, match="grid of 32×16×16 on 'cpu'; use a smaller --size"):
        embed_labels(small_networks("rflow").controlnet, labels((32, 16, 16)))
