"""A wider U-Net and ControlNet with more latent channels that start by computing what trained, narrower ones do.

As in Net2Net (Chen et al., arXiv 1511.05641), but with fresh channels in place of copies: what was there never reads
them at the start. Groups of the norms must have the same size in both, so that old channels share groups with old ones
only. The additional latent channels are carried to the output by fresh channels, as in the copy start.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding
from torch import nn

from SynthCTLib.errors import InputError
from training.copy_start import carry_latent

EMBEDDINGS = 4
"""MONAI's time embedding has this many times the width of the first level, and so have those joined to it."""
RIDGE = 1e-3
TIMES = torch.linspace(0, 1000, 4001)

Arguments = Mapping[str, object]


def check_widths(wide: Arguments, trained: Arguments) -> tuple[int, int]:
    """The width of the trained network and that of the new one, both from the ``arguments`` of MONAI's classes.

    Raises InputError where the new one cannot start from the trained one.
    """
    widths = []
    for arguments in (trained, wide):
        channels = set(arguments["num_channels"])  # type: ignore[call-overload]
        if len(channels) != 1:
            raise InputError(f"Only networks of one width at all levels can be widened, and {channels} is several.")
        widths.append((channels.pop(), arguments["norm_num_groups"]))
    (small, groups), (large, more_groups) = widths
    if small * more_groups != large * groups:
        raise InputError(
            f"{groups} norm groups of {small} channels cannot go on as {more_groups} of {large}; keep the size of a "
            "group in 'norm_num_groups'."
        )
    return small, large


@torch.no_grad()
def widen(network: nn.Module, trained: Mapping[str, torch.Tensor], small: int, large: int) -> None:
    """Put the weights of a network of width ``small`` into a fresh one of width ``large``, in place."""
    state = {}
    for name, fresh in network.state_dict().items():
        old = trained[name].float()
        if name == "time_embed.0.weight":
            old = refit_times(old, fresh.shape[1])
        rows, columns = (EMBEDDINGS if _is_embedding(name, axis) else 1 for axis in (0, 1))
        state[name] = _placed(old, fresh, (small * rows, large * rows), (small * columns, large * columns))
    network.load_state_dict(state)


def widen_unet(
    unet: DiffusionModelUNetMaisi, trained: Mapping[str, torch.Tensor], small: int, large: int, sign: float
) -> None:
    """:func:`widen`, and the additional latents pass as ``sign`` · x_t.

    Raises InputError where the additional width does not hold two channels for each of them.
    """
    latents = trained["conv_in.conv.weight"].shape[1]
    if 2 * (unet.in_channels - latents) > large - small:
        raise InputError(
            f"{unet.in_channels - latents} more latent channels need {2 * (unet.in_channels - latents)} more channels "
            f"in the U-Net, and {large} are only {large - small} more than {small}; raise num_channels."
        )
    widen(unet, trained, small, large)
    for channel in range(latents, unet.in_channels):
        carry_latent(unet, channel, small + 2 * (channel - latents), sign)


def refit_times(weight: torch.Tensor, width: int) -> torch.Tensor:
    """The time embedding's first layer for ``width`` sines and cosines of other frequencies (least squares)."""
    old, new = (get_timestep_embedding(TIMES, count).double() for count in (weight.shape[1], width))
    gram = new.T @ new + RIDGE * torch.eye(width, dtype=torch.float64)
    return (torch.linalg.solve(gram, new.T @ old) @ weight.double().T).T.float()


def _is_embedding(name: str, axis: int) -> bool:
    """Whether this axis of a weight counts channels of the time, class or spacing embedding, and not features."""
    if ".time_emb_proj." in name:
        return axis == 1
    return name.startswith(("time_embed.", "class_embedding.", "spacing_layer."))


def _placed(
    old: torch.Tensor, fresh: torch.Tensor, row_widths: tuple[int, int], column_widths: tuple[int, int]
) -> torch.Tensor:
    """``fresh`` with ``old`` in its place; what would feed fresh input channels into old output channels is zero."""
    rows = _positions(old.shape[0], fresh.shape[0], *row_widths)
    result = fresh.clone()
    if old.ndim == 1:
        result[rows] = old
        return result
    columns = _positions(old.shape[1], fresh.shape[1], *column_widths)
    result[rows] = 0
    result[rows[:, None], columns[None, :]] = old
    return result


def _positions(old: int, new: int, small: int, large: int) -> torch.Tensor:
    """(old,) where the entries of an axis go: features that are joined, each ``small`` before, keep their order."""
    parts = old // small if old % small == 0 and new == old // small * large else 1
    return torch.cat([torch.arange(old // parts) + part * (new // parts) for part in range(parts)])
