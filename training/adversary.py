"""The patch discriminator (least squares) and what keeps it from taking over.

A generator that has learned to reconstruct meets a discriminator that has learned nothing, and later one that sees
through everything; in both cases its gradient points nowhere useful and, at a fixed weight, can drown all other terms.
Four things keep the balance:

* the discriminator learns alone for ``critic_lead`` steps before the generator feels it;
* it rests in steps in which its loss is below ``critic_rest`` (one that only guesses has 0.25), so that it does not run
  away from a generator that is held back;
* the weight grows from 0 over ``adversarial_ramp`` steps;
* **a cap**: with g = ∂/∂image, the weight is min(λ, cap · |g_rec| / |g_adv|). The paper's λ holds as long as the
  weighted adversarial gradient stays below that share of the others'; beyond, it is cut. VQGAN's adaptive weight (arXiv
  2012.09841, equation 7) *sets* the ratio, which also turns a weak, wrong gradient up; a cap only turns down. Taken at
  the image instead of the last layer, it costs no backward pass through the decoder and is the same under DDP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from monai.losses.adversarial_loss import PatchAdversarialLoss
from monai.networks.nets import PatchDiscriminator

from training.loop import clip_gradients

Scalars = dict[str, float]


class Adversary:
    """Discriminator, its optimizer, and the weight of its term at each step."""

    def __init__(self, settings: Mapping[str, Any], fabric: Fabric) -> None:
        self.settings, self.fabric = settings, fabric
        critic = PatchDiscriminator(
            spatial_dims=3,
            channels=settings["critic_channels"],
            in_channels=1,
            out_channels=1,
            num_layers_d=settings["critic_layers"],
            norm="INSTANCE",
        )
        optimizer = torch.optim.Adam(critic.parameters(), lr=settings["critic_lr"], betas=(0.5, 0.9))
        self.critic, self.optimizer = fabric.setup(critic, optimizer)
        self.least_squares = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)

    def is_open(self, step: int) -> bool:
        """Whether the generator feels the discriminator."""
        return step >= self.settings["adversarial_from"]

    def is_learning(self, step: int) -> bool:
        """Whether the discriminator learns."""
        return step >= self.settings["adversarial_from"] - self.settings["critic_lead"]

    def weight(self, step: int) -> float:
        """λ at this step, before the cap."""
        ramp = self.settings["adversarial_ramp"]
        grown = min(1.0, (step - self.settings["adversarial_from"] + 1) / ramp) if ramp else 1.0
        return self.settings["adversarial_weight"] * grown

    def term(self, output: torch.Tensor, reconstruction: torch.Tensor, step: int) -> tuple[torch.Tensor, Scalars]:
        """The weighted term of the generator's loss.

        Args:
            output: (N, 1, X, Y, Z), with a graph; ``reconstruction``: the other terms of the image, of the same graph.
        """
        self.critic.module.requires_grad_(False)  # the module itself: DDP would wait for gradients of its weights
        with self.fabric.autocast():
            judged = self.critic.module(output)[-1]
        self.critic.module.requires_grad_(True)
        loss = self.least_squares(judged.float(), target_is_real=True, for_discriminator=False)
        weight = self.weight(step)
        if self.settings["adversarial_cap"] is not None:
            weight = min(weight, self.settings["adversarial_cap"] * self._balance(output, reconstruction, loss))
        return weight * loss, {"adversarial": loss.item(), "adversarial_weight": weight}

    def _balance(self, output: torch.Tensor, reconstruction: torch.Tensor, loss: torch.Tensor) -> float:
        """|∂ reconstruction / ∂ output| / |∂ loss / ∂ output|, averaged over processes."""
        norms = [torch.autograd.grad(t, output, retain_graph=True)[0].float().norm() for t in (reconstruction, loss)]
        ratio = norms[0] / norms[1].clamp_min(1e-12)
        mean: Any = self.fabric.all_reduce(ratio, reduce_op="mean")
        return float(mean)

    def learn(self, batches: list[tuple[torch.Tensor, torch.Tensor]], lr: float) -> Scalars:
        """One update from pairs of a real and a made batch (N, 1, X, Y, Z), made ones without a graph."""
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for number, (real, made) in enumerate(batches, 1):
            with self.fabric.no_backward_sync(self.critic, enabled=number < len(batches)):
                judged_real, judged_made = self.critic(torch.cat([real, made]))[-1].float().chunk(2)
                loss = 0.5 * (
                    self.least_squares(judged_real, target_is_real=True, for_discriminator=True)
                    + self.least_squares(judged_made, target_is_real=False, for_discriminator=True)
                )
                self.fabric.backward(loss / len(batches))
                total += loss.item() / len(batches)
        limit = self.settings["critic_clip"]
        norm = clip_gradients(self.fabric, self.critic, self.optimizer, math.inf if limit is None else limit)
        mean: Any = self.fabric.all_reduce(torch.tensor(total, device=self.fabric.device), reduce_op="mean")
        for group in self.optimizer.param_groups:  # not skipped: the loss scaler of half precision counts on a step
            group["lr"] = lr if mean >= self.settings["critic_rest"] else 0.0
        self.optimizer.step()
        return {"critic": total, **{f"critic_{key}": value for key, value in norm.items()}}

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer."""
        return {"critic": self.critic.module.state_dict(), "critic_optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self.critic.module.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["critic_optimizer"])
