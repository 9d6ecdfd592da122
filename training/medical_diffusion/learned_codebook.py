"""How the codes of the VQ-GAN are learned: from data at first, then as running means, with unused codes restarted.

Exponential moving average: van den Oord et al., 1711.00937, appendix A.1, equations 6-8. Restart: Dhariwal et al.,
2005.00341 (random restarts). Everything is a buffer: a checkpoint has all, and a resumed run starts nothing anew.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from SynthCTLib.medical_diffusion.codebook import Codebook


def straight_through(latent: torch.Tensor, quantized: torch.Tensor) -> torch.Tensor:
    """The value of ``quantized`` with the gradient of ``latent`` (1711.00937, section 3.2)."""
    return latent + (quantized - latent).detach()


def commitment_loss(latent: torch.Tensor, quantized: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of the latents to their codes; moves the latents only (1711.00937, equation 3)."""
    return F.mse_loss(latent.float(), quantized.detach())


def perplexity(indices: torch.Tensor, codes: int) -> float:
    """exp of the entropy of how often codes are used: 1 when one code is, ``codes`` when all are alike."""
    share = torch.bincount(indices.flatten(), minlength=codes).float() / indices.numel()
    return float(torch.exp(-(share * (share + 1e-12).log()).sum()))


class LearnedCodebook(nn.Module):
    """Moves the codes of a :class:`Codebook`.

    Args:
        decay: γ of the moving averages. laplace: ε of their smoothing.
        restart_below: a code whose average count of vectors per step is lower is restarted.
        restart_every: steps between two restarts, so that a new code has time to find vectors of its own, also where a
            step has fewer vectors than the codebook has codes.
    """

    counts: torch.Tensor
    sums: torch.Tensor
    steps: torch.Tensor

    def __init__(
        self, codebook: Codebook, decay: float, laplace: float, restart_below: float, restart_every: int
    ) -> None:
        super().__init__()
        self.codebook = (codebook,)  # in a tuple: its weights are the VQ-GAN's
        self.decay, self.laplace = decay, laplace
        self.restart_below, self.restart_every = restart_below, restart_every
        self.register_buffer("counts", torch.zeros(codebook.codes.shape[0]))
        self.register_buffer("sums", torch.zeros_like(codebook.codes))
        self.register_buffer("steps", torch.tensor(-1))

    @property
    def initialized(self) -> bool:
        """Whether the codes have been taken from data; stored in the checkpoint."""
        return int(self.steps) >= 0

    @torch.no_grad()
    def initialize(self, latent: torch.Tensor, generator: torch.Generator) -> None:
        """Codes become random vectors of ``latent`` (N, channels, D, H, W). Raises RuntimeError the second time."""
        if self.initialized:
            raise RuntimeError("The codebook has been initialized before.")
        self._start(torch.ones_like(self.counts, dtype=torch.bool), _vectors(latent), generator)
        self.steps.zero_()

    @torch.no_grad()
    def update(self, latent: torch.Tensor, indices: torch.Tensor, generator: torch.Generator) -> None:
        """One step of the averages with the latents and their codes; restarts codes when it is time."""
        vectors, chosen = _vectors(latent), indices.flatten()
        counts = torch.bincount(chosen, minlength=len(self.counts)).to(self.counts)
        sums = torch.zeros_like(self.sums).index_add_(0, chosen, vectors)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        total = self.counts.sum()
        smooth = (self.counts + self.laplace) / (total + len(self.counts) * self.laplace) * total
        self.codebook[0].codes.copy_(self.sums / smooth[:, None])
        self.steps += 1
        if int(self.steps) % self.restart_every == 0:
            self._start(self.counts < self.restart_below, vectors, generator)

    def unused(self) -> float:
        """Share of the codes that the next restart would take."""
        return float((self.counts < self.restart_below).float().mean())

    def _start(self, which: torch.Tensor, vectors: torch.Tensor, generator: torch.Generator) -> None:
        """Put codes on random vectors; averages start anew with them, else the old ones would pull the code back."""
        count = int(which.sum())
        repeats = -(-count // len(vectors))
        order = torch.cat([torch.randperm(len(vectors), generator=generator) for _ in range(max(1, repeats))])[:count]
        chosen = vectors[order.to(vectors.device)]
        if repeats > 1:  # twice the same code would leave one of them unused
            noise = torch.randn(chosen.shape, generator=generator).to(chosen.device)
            chosen = chosen + 0.01 * vectors.std() * noise
        self.codebook[0].codes[which] = chosen
        self.counts[which] = max(self.restart_below, 1.0)
        self.sums[which] = chosen * self.counts[which][:, None]


def _vectors(latent: torch.Tensor) -> torch.Tensor:
    return latent.detach().float().movedim(1, -1).reshape(-1, latent.shape[1])
