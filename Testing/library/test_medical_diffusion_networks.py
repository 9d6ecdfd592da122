"""Medical Diffusion's networks: codebook, VQ-GAN, factorized attention and U-Net, schedule and samplers."""

from __future__ import annotations

import math

import pytest
import torch
from monai.networks.schedulers import DDPMScheduler

from SynthCTLib.medical_diffusion import codebook as codebook_module
from SynthCTLib.medical_diffusion.attention import DepthAttention, SpatialAttention, relative_positions, rotate
from SynthCTLib.medical_diffusion.codebook import Codebook, from_unit, to_unit
from SynthCTLib.medical_diffusion.factorized_unet import FactorizedUNet, slice_conv
from SynthCTLib.medical_diffusion.sampling import decode_unit_latent, sample_unit_latent
from SynthCTLib.medical_diffusion.vqgan import VqGan, level_strides
from SynthCTLib.scheduler import SOLVERS

COSINE = {"num_train_timesteps": 300, "schedule": "cosine", "s": 0.008}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(11)


def book(codes: list[list[float]]) -> Codebook:
    made = Codebook(len(codes), len(codes[0]))
    made.codes.copy_(torch.tensor(codes))
    return made


def test_the_nearest_code_is_the_one_that_is_nearest() -> None:
    latent = torch.tensor([[0.4, 0.1], [0.9, 0.2], [-3.0, 5.0]]).T.reshape(1, 2, 3, 1, 1)
    found = book([[0.0, 0.0], [1.0, 0.0], [-2.0, 4.0]])
    assert found.nearest(latent).flatten().tolist() == [0, 1, 2]
    assert torch.equal(found.quantize(latent)[0, :, 2, 0, 0], torch.tensor([-2.0, 4.0]))


def test_distances_in_chunks_find_the_same_codes_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = book(torch.randn(50, 8).tolist())
    latent = torch.randn(2, 8, 3, 4, 5)
    expected = torch.cdist(latent.movedim(1, -1).reshape(-1, 8), made.codes).argmin(1).reshape(2, 3, 4, 5)
    monkeypatch.setattr(codebook_module, "CHUNK_BYTES", 4 * 50 * 7)
    largest = []
    argmax = torch.Tensor.argmax
    monkeypatch.setattr(torch.Tensor, "argmax", lambda self, dim: largest.append(self.shape[0]) or argmax(self, dim))
    assert torch.equal(made.nearest(latent), expected)
    assert max(largest) == 7


def test_the_quantizer_computes_in_float32_also_inside_of_half_precision() -> None:
    made = book([[300.0, 300.0], [300.0, 300.5]])  # squares overflow float16, and bfloat16 cannot tell the two apart
    latent = torch.tensor([300.0, 300.4]).reshape(1, 2, 1, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert made.nearest(latent).item() == 1
        assert made.quantize(latent.half()).dtype == torch.float32


def test_the_range_of_the_codebook_becomes_minus_one_to_one() -> None:
    low, high = book([[-3.0, 1.0], [0.5, 5.0]]).range()
    assert (low, high) == (-3.0, 5.0)
    latent = torch.tensor([-3.0, 1.0, 5.0, 9.0])
    assert to_unit(latent, low, high).tolist() == [-1.0, 0.0, 1.0, 2.0]
    assert torch.allclose(from_unit(to_unit(latent, low, high), low, high), latent)


@pytest.mark.parametrize(
    ("factors", "strides"),
    [
        ((2, 2, 2), [(2, 2, 2)]),
        ((8, 8, 8), [(2, 2, 2)] * 3),
        ((2, 4, 4), [(2, 2, 2), (1, 2, 2)]),
        ((1, 4, 8), [(1, 2, 2), (1, 2, 2), (1, 1, 2)]),
    ],
)
def test_each_level_halves_the_axes_that_are_still_to_be_reduced(
    factors: tuple[int, int, int], strides: list[tuple[int, int, int]]
) -> None:
    assert level_strides(factors) == strides


@pytest.mark.parametrize("factors", [(2, 2, 2), (4, 4, 4), (2, 4, 8)])
def test_latents_are_smaller_by_the_factors_and_the_decoder_gives_the_size_back(factors: tuple[int, int, int]) -> None:
    model = VqGan(4, 3, 8, factors, 2)
    image = torch.rand(1, 1, 8, 16, 16)
    latent = model.encode(image)
    assert latent.shape == (1, 3, 8 // factors[0], 16 // factors[1], 16 // factors[2])
    assert model.reconstruct(image).shape == image.shape


def test_parameters_of_the_published_compressions() -> None:
    counts = {}
    for factor in (2, 4, 8):
        with torch.device("meta"):
            counts[factor] = sum(p.numel() for p in VqGan(downsampling=(factor,) * 3).parameters()) / 1e6
    assert counts == pytest.approx({2: 0.27, 4: 1.39, 8: 5.88}, rel=0.05)


def test_factors_that_are_no_powers_of_two_are_refused() -> None:
    with pytest.raises(ValueError, match="powers of 2"):
        VqGan(downsampling=(3, 4, 4))


def test_two_uniform_volumes_of_different_brightness_have_different_latents() -> None:
    model = VqGan(8, 4, 8, (2, 2, 2), 2)
    dark, bright = (model.encode(torch.full((1, 1, 8, 8, 8), value)) for value in (-0.5, 0.5))
    assert (dark - bright).abs().max() > 1e-2


def test_groups_of_one_channel_which_lose_the_brightness_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        VqGan(channels=16, norm_groups=16)


def test_borders_are_replicated_so_that_a_uniform_volume_has_a_uniform_latent() -> None:
    latent = VqGan(8, 4, 8, (2, 2, 2), 2).encode(torch.full((1, 1, 8, 8, 8), 0.7))
    assert torch.allclose(latent, latent[..., :1, :1, :1].expand_as(latent), atol=1e-5)


def plain_attention(layer: torch.nn.Module, x: torch.Tensor, positions: bool) -> torch.Tensor:
    """softmax(q·k/√d)·v of one sequence (length, channels), head by head."""
    length, heads = x.shape[0], layer.heads
    q, k, v = layer.qkv(layer.norm(x)).reshape(length, 3, heads, -1).unbind(1)
    result = []
    for head in range(heads):
        query, key = q[:, head], k[:, head]
        if positions:
            query, key = rotate(query), rotate(key)
        scores = query @ key.T / math.sqrt(query.shape[-1])
        if positions:
            scores = scores + layer.position_bias(relative_positions(length, x.device))[..., head]
        result.append(scores.softmax(-1) @ v[:, head])
    return x + layer.out(torch.cat(result, -1))


def test_spatial_attention_is_plain_attention_within_each_slice() -> None:
    layer, x = SpatialAttention(6, 2, 4), torch.randn(2, 6, 3, 4, 5)
    result = layer(x)
    for n in range(2):
        for d in range(3):
            alone = plain_attention(layer, x[n, :, d].flatten(1).T, positions=False)
            assert torch.allclose(result[n, :, d].flatten(1).T, alone, atol=1e-5)


def test_depth_attention_is_plain_attention_within_each_column() -> None:
    layer, x = DepthAttention(6, 2, 4), torch.randn(2, 6, 3, 2, 5)
    result = layer(x)
    for n in range(2):
        for h in range(2):
            for w in range(5):
                alone = plain_attention(layer, x[n, :, :, h, w].T, positions=True)
                assert torch.allclose(result[n, :, :, h, w].T, alone, atol=1e-5)


def test_rotated_queries_and_keys_see_the_distance_of_two_places_alone() -> None:
    q, k = torch.randn(8).expand(10, 8), torch.randn(8).expand(10, 8)
    scores = rotate(q) @ rotate(k).T
    assert scores[2, 5] == pytest.approx(scores[6, 9].item(), abs=1e-4)
    assert scores[2, 5] != pytest.approx(scores[2, 6].item(), abs=1e-3)


def test_convolutions_of_the_u_net_do_not_mix_slices() -> None:
    x = torch.randn(1, 3, 5, 6, 6)
    changed = x.clone()
    changed[:, :, 2] += 1
    layer = slice_conv(3, 4)
    different = (layer(x) != layer(changed)).flatten(3).any(3)[0].any(0)
    assert different.tolist() == [False, False, True, False, False]


def test_without_depth_attention_the_whole_u_net_keeps_slices_apart_and_with_it_they_meet() -> None:
    net = FactorizedUNet(3, 8, (1, 2), 2, 4, 4)
    x, time = torch.randn(1, 3, 5, 4, 4), torch.tensor([7])
    changed = x.clone()
    changed[:, :, 2] += 1

    def moved() -> torch.Tensor:
        return (net(x, time) - net(changed, time)).abs().amax((0, 1, 3, 4))

    assert (moved()[[0, 1, 3, 4]] > 1e-6).all()
    for module in net.modules():
        if isinstance(module, DepthAttention):
            module.out.weight.data.zero_()
        if isinstance(module, torch.nn.GroupNorm):  # its mean runs over all slices
            module.forward = lambda x: x  # type: ignore[method-assign]
    assert (moved()[[0, 1, 3, 4]] == 0).all() and moved()[2] > 1e-6


def test_the_u_net_never_reduces_the_depth() -> None:
    net = FactorizedUNet(2, 8, (1, 2, 2), 2, 4, 4)
    depths = []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            module.register_forward_hook(lambda _, inputs, output: depths.append((inputs[0].shape[2], output.shape[2])))
    assert net(torch.randn(2, 2, 3, 8, 8), torch.tensor([0, 299])).shape == (2, 2, 3, 8, 8)
    assert set(depths) == {(3, 3)}


def test_the_cosine_schedule_is_that_of_nichol_and_dhariwal() -> None:
    def f(t: float) -> float:
        return math.cos((t / 300 + 0.008) / 1.008 * math.pi / 2) ** 2

    alphas = DDPMScheduler(**COSINE).alphas_cumprod
    for step in (0, 74, 149, 224, 290):
        assert float(alphas[step]) == pytest.approx(f(step + 1) / f(0), rel=1e-4)  # equation 17, ᾱ_t of step t + 1
    assert DDPMScheduler(**COSINE).betas.max() == pytest.approx(0.999)


@pytest.mark.parametrize(("solver", "steps"), [("ddpm", 300), ("ddim", 300), ("ddim", 25), ("ddim", 1)])
def test_samplers_reach_the_latent_when_the_noise_is_predicted_perfectly(solver: str, steps: int) -> None:
    latent = torch.rand(1, 2, 2, 2, 2) * 2 - 1
    alphas = DDPMScheduler(**COSINE).alphas_cumprod

    def oracle(x: torch.Tensor, t: float) -> torch.Tensor:
        alpha = alphas[int(t)]
        return (x - alpha.sqrt() * latent) / (1 - alpha).sqrt()

    generator = torch.Generator().manual_seed(1)
    *_, end = SOLVERS[solver](oracle, torch.randn(1, 2, 2, 2, 2), steps, COSINE, generator)
    assert torch.allclose(end, latent, atol=1e-3)


def test_ddim_walks_along_the_states_of_a_single_gaussian() -> None:
    """For data N(0, 0.5²) the best prediction is known, and DDIM's ordinary differential equation has a solution."""
    alphas = DDPMScheduler(**COSINE).alphas_cumprod
    spread = 0.5

    def best(x: torch.Tensor, t: float) -> torch.Tensor:
        alpha = alphas[int(t)]
        return (1 - alpha).sqrt() * x / (alpha * spread**2 + 1 - alpha)

    start = torch.tensor([0.3, -1.0, 1.5]).reshape(1, 1, 1, 1, 3)
    *_, end = SOLVERS["ddim"](best, start, 100, {**COSINE, "clip_sample": False}, torch.Generator())
    assert torch.allclose(end, start * spread, atol=0.02)


def test_a_sample_stays_in_range_follows_its_seed_and_becomes_an_image() -> None:
    net, vqgan = FactorizedUNet(3, 8, (1, 2), 2, 4, 4).eval(), VqGan(4, 3, 8, (2, 4, 4), 2).eval()
    vqgan.codebook.codes.normal_()
    shape = (1, 3, 2, 4, 4)
    one, same = (sample_unit_latent(net, shape, COSINE, seed=3, steps=4, solver="ddim") for _ in range(2))
    other = sample_unit_latent(net, shape, COSINE, seed=4, steps=4, solver="ddim")
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert one.abs().max() <= 1
    image = decode_unit_latent(vqgan, one)
    assert image.shape == (1, 1, 4, 16, 16) and image.abs().max() <= 1


def test_decoding_uses_codes_only() -> None:
    vqgan = VqGan(4, 3, 4, (2, 2, 2), 2).eval()
    vqgan.codebook.codes.normal_()
    unit = torch.rand(1, 3, 2, 2, 2) * 2 - 1
    quantized = vqgan.codebook.quantize(from_unit(unit, *vqgan.codebook.range()))
    nudged = to_unit(quantized + 1e-3, *vqgan.codebook.range())
    assert not torch.allclose(unit, nudged, atol=1e-2)
    assert torch.equal(decode_unit_latent(vqgan, nudged), vqgan.decode(quantized).clamp(-1, 1).detach())
