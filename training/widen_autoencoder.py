"""An autoencoder with more latent channels that starts from one that is trained.

Principal components of blocks are nested: those of the trained encoder stay, others orthogonal to them join. The
encoder has to give the trained one's latents in its first channels, because a denoiser is used to them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import (
    AutoencoderKlMaisi,
    MaisiDownsample,
    MaisiResBlock,
    MaisiUpsample,
)
from torch import nn
from torch.nn import functional

from SynthCTLib.errors import InputError
from training.linear_start import BLOCK, block_components, blocks_of, linear_start, weight_and_bias

RIDGE = 1e-6
CORNERS = list(itertools.product(range(2), repeat=3))


def widen_autoencoder(wide: AutoencoderKlMaisi, trained: AutoencoderKlMaisi, patches: torch.Tensor) -> None:
    """Start ``wide``, which has more latent channels and else the same layers, from ``trained``.

    Args:
        trained: its encoder is that of :func:`training.linear_start.linear_start`.
        patches: (N, 1, P, P, P) in [0, 1], enough blocks for the new components and for 27 taps of each old one.

    Raises InputError if ``wide`` has no more latent channels than ``trained``.
    """
    if wide.latent_channels <= trained.latent_channels:
        raise InputError(
            f"The new autoencoder has {wide.latent_channels} latent channels and the trained one "
            f"{trained.latent_channels}; give network.autoencoder.latent_channels a larger number."
        )
    linear_start(wide, patches, nested_components(trained, patches, wide.latent_channels))
    fit_encoder(wide, trained, patches)
    widen_decoder(wide, trained)


@torch.no_grad()
def nested_components(
    trained: AutoencoderKlMaisi, patches: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The trained encoder's components and the leading ones of what they leave: (count, 4, 4, 4) and offsets."""
    few = trained.latent_channels
    second = [b for b in blocks_of(trained.encoder) if isinstance(b, MaisiDownsample)][1]
    weight, bias = weight_and_bias(second)
    known = torch.zeros(few, BLOCK, BLOCK, BLOCK)
    for channel, (i, j, k) in enumerate(CORNERS):
        known[:, i::2, j::2, k::2] = weight[:few, channel, :2, :2, :2]
    flat = known.flatten(1)
    basis = torch.linalg.qr(flat.T).Q
    first_deviation = 1 / flat[0].norm()  # the first component has unit variance
    further, offsets = block_components(patches, count - few, basis, first_deviation)
    return torch.cat([known, further]), torch.cat([bias[:few], offsets])


@torch.no_grad()
def fit_encoder(wide: AutoencoderKlMaisi, trained: AutoencoderKlMaisi, patches: torch.Tensor) -> None:
    """Fit the last convolution so that the first channels are the trained encoder's (least squares).

    Up to norms both are linear maps of blocks and their neighbors: what the trained encoder adds to a component, such
    as random features left from its start, is a 3³ convolution of all components.
    """
    few = trained.latent_channels
    features, targets = [], []
    for patch in patches:
        x = patch[None]
        for block in blocks_of(wide.encoder)[:-1]:
            x = block(x)
        windows = functional.pad(x[:, :few], [1] * 6).unfold(2, 3, 1).unfold(3, 3, 1).unfold(4, 3, 1)
        inner = (slice(None), slice(None), *[slice(1, -1)] * 3)  # at the border it is padding that both see
        rows = windows[inner].movedim(1, 4).flatten(0, 3).flatten(1)
        features.append(torch.cat([rows, torch.ones(len(rows), 1)], dim=1))
        targets.append(trained.encode(patch[None])[0][inner].movedim(1, 4).flatten(0, 3))
    a, b = torch.cat(features).double(), torch.cat(targets).double()
    solution = torch.linalg.solve(a.T @ a + RIDGE * len(a) * torch.eye(a.shape[1]), a.T @ b).T.float()
    weight, bias = weight_and_bias(blocks_of(wide.encoder)[-1])
    weight[:few] = 0
    weight[:few, :few] = solution[:, :-1].reshape(few, few, 3, 3, 3)
    bias[:few] = solution[:, -1]


@torch.no_grad()
def widen_decoder(wide: AutoencoderKlMaisi, trained: AutoencoderKlMaisi) -> None:
    """The trained decoder, with some of its features at latent resolution replaced by the new components.

    Up to the first upsampling, nothing of the trained decoder reads or writes the channels that carry them; they go on
    as in the linear start.
    """
    few, many = trained.latent_channels, wide.latent_channels
    fresh, blocks = blocks_of(wide.decoder), blocks_of(trained.decoder)
    upsample = next(i for i, block in enumerate(fresh) if isinstance(block, MaisiUpsample))
    own = {name: value.clone() for name, value in _first_and_upsample(fresh, upsample)}
    first_weight, first_bias = weight_and_bias(fresh[0])
    for new, old in zip(fresh[1:], blocks[1:], strict=True):
        new.load_state_dict(old.state_dict())
    carried = slice(few, many)
    trained_weight, trained_bias = weight_and_bias(blocks[0])
    first_weight[:, :few], first_weight[:, carried] = trained_weight, 0
    first_weight[carried] = own["first"][carried]
    first_bias.copy_(trained_bias)
    first_bias[carried] = 0
    for block in fresh[1:upsample]:
        if isinstance(block, MaisiResBlock):
            weight_and_bias(block.conv1)[0][:, carried] = 0
            for parameter in weight_and_bias(block.conv2):
                parameter[carried] = 0
    weight = weight_and_bias(fresh[upsample])[0]
    weight[:, carried] = 0
    weight[: len(CORNERS), carried] = own["upsample"][: len(CORNERS), carried]
    weight, bias = weight_and_bias(wide.post_quant_conv)
    trained_weight, trained_bias = weight_and_bias(trained.post_quant_conv)
    weight[:few, :few], bias[:few] = trained_weight, trained_bias


def _first_and_upsample(blocks: list[nn.Module], upsample: int) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of the linear start that are needed after the trained ones have been loaded."""
    yield "first", weight_and_bias(blocks[0])[0]
    yield "upsample", weight_and_bias(blocks[upsample])[0]
