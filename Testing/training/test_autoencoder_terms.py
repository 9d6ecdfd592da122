"""Terms of the autoencoder's loss, its patches and its settings: what they measure, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.distributions import Normal
from torch.distributions.kl import kl_divergence as reference_kl

from SynthCTLib.errors import InputError
from Testing.training.small_images import autoencoder_config, write_cases
from training.autoencoder_loss import bone_surface, kl_divergence, window_l1
from training.config import load_config
from training.intensities import open_image
from training.metrics.extractors import EFFICIENTNET_SHA256, load_efficientnet_lite0
from training.patches import PatchSampler
from training.perceptual import build_features, draw_slices, even_slices, perceptual_distance
from training.schedule import staged
from training.settings import read_settings

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
AUGMENT = {"probability": 1.0, "zoom": [0.5, 1.5], "rotation": 0.1, "intensity_scale": 0.1, "intensity_shift": 0.05}


@pytest.fixture(scope="module")
def features() -> torch.nn.Module:
    return build_features({"name": "efficientnet-lite0"})


def textured(seed: int = 0) -> torch.Tensor:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(32, 32, 32)), 1.0)
    return torch.from_numpy(0.5 + 0.3 * noise / noise.std()).float()[None, None].clamp(0, 1)


def test_the_kl_term_is_the_divergence_of_normal_distributions_per_element_or_per_patch() -> None:
    mu, sigma = torch.randn(2, 3, 4, 4, 4), torch.rand(2, 3, 4, 4, 4) + 0.1
    each = reference_kl(Normal(mu, sigma), Normal(0.0, 1.0))
    assert kl_divergence(mu, sigma).item() == pytest.approx(each.mean().item(), rel=1e-4)
    assert kl_divergence(mu, sigma, "patch").item() == pytest.approx(each.sum().item() / 2, rel=1e-4)


def test_the_window_term_counts_soft_tissue_only() -> None:
    target = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 3, 1, 1)
    assert window_l1(target + 0.1, target, (0.4, 0.65)).item() == pytest.approx(0.1 / 0.25 / 3)


def test_the_bone_term_counts_what_crosses_130_hu_and_not_what_stays_on_its_side() -> None:
    soft, thin_bone, dense_bone = ((torch.full((1, 1, 2, 2, 2), hu) + 1000) / 2000 for hu in (-100.0, 300.0, 700.0))
    assert bone_surface(thin_bone, soft).item() == pytest.approx(1, abs=0.05)
    assert bone_surface(dense_bone, thin_bone).item() < 0.05


def test_the_perceptual_distance_grows_with_blur_and_a_gradient_leads_back(features: torch.nn.Module) -> None:
    target = textured()
    slices = even_slices((32, 32, 32), 3)
    distances = []
    for sigma in (0.0, 0.5, 1.0, 2.0):
        blurred = torch.from_numpy(ndimage.gaussian_filter(target.numpy(), (0, 0, sigma, sigma, sigma)))
        distances.append(perceptual_distance(features, blurred, target, slices).item())
    assert distances[0] == 0 and distances == sorted(distances) and distances[1] > 0
    output = textured(1).requires_grad_()
    before = perceptual_distance(features, output, target, slices)
    before.backward()
    assert output.grad is not None and all(p.grad is None for p in features.parameters())
    moved = output.detach() - 1e-2 * output.grad / output.grad.abs().max()
    assert perceptual_distance(features, moved, target, slices) < before


def test_slices_are_drawn_from_the_generator_and_never_twice() -> None:
    drawn = [draw_slices((8, 5, 3), 4, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert [len(set(axis)) for axis in drawn[0]] == [4, 4, 3]
    assert all(np.array_equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(drawn[0], drawn[2], strict=True))


def test_a_feature_network_that_is_not_the_one_named_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "features.pth"
    torch.save(load_efficientnet_lite0().state_dict(), file)
    with pytest.raises(InputError, match="has the SHA-256"):
        build_features({"name": "efficientnet-lite0", "file": str(file), "sha256": EFFICIENTNET_SHA256})
    assert build_features({"name": "efficientnet-lite0", "file": str(file)})  # the user's own file, no checksum given
    torch.save({"weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="does not hold weights"):
        build_features({"name": "efficientnet-lite0", "file": str(file)})
    with pytest.raises(InputError, match="There is no file"):
        build_features({"name": "radimagenet-resnet50", "file": str(tmp_path / "none.pt")})


def test_mr_is_scaled_by_its_own_percentiles_and_not_cut_off_above(tmp_path: Path) -> None:
    write_cases(tmp_path, "mri_t1", 1)
    [meta] = json.loads((tmp_path / "cases.json").read_text())["cases"]
    values = np.load(tmp_path / "case_0" / "mr.npy")
    image = open_image(tmp_path, meta)
    unit = image.unit(image.array).numpy()
    low, high = np.percentile(values, [0, 99.5])
    assert np.allclose(unit, (values - low) / (high - low), atol=1e-6) and unit.max() > 1
    with pytest.raises(InputError, match="knows CT and MR"):
        open_image(tmp_path, meta | {"modality": "pet"})


def test_ct_keeps_its_fixed_window(tmp_path: Path) -> None:
    write_cases(tmp_path, "ct", 1)
    [meta] = json.loads((tmp_path / "cases.json").read_text())["cases"]
    unit = open_image(tmp_path, meta).unit(np.array([-1100.0, -1000.0, 0.0, 1000.0, 2000.0]))
    assert unit.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("augment", [None, AUGMENT])
def test_the_same_draws_give_the_same_patches_whatever_was_drawn_before(tmp_path: Path, augment: dict | None) -> None:
    write_cases(tmp_path)
    fresh, used = (PatchSampler(tmp_path, "train", {"other": 1}, augment) for _ in range(2))
    used.batch(3, 16, np.random.default_rng(1))
    first = fresh.batch(2, 16, np.random.default_rng(7))
    assert first.shape == (2, 1, 16, 16, 16) and first.std() > 0.01
    assert torch.equal(first, used.batch(2, 16, np.random.default_rng(7)))
    assert not torch.equal(first, used.batch(2, 16, np.random.default_rng(8)))


def test_a_zoomed_and_turned_patch_shows_the_middle_of_what_was_cut_out() -> None:
    from training.augment import Augmentation

    grid = torch.stack(torch.meshgrid(*[torch.arange(80.0)] * 3, indexing="ij"))
    radius = (grid - 39.5).square().sum(0).sqrt()[None]
    for zoom in (0.5, 1.0, 1.5):
        change = Augmentation(AUGMENT | {"zoom": [zoom, zoom], "intensity_scale": 0, "intensity_shift": 0})
        margin = change.margin(16)
        cut = radius[:, 32 - margin : 48 + margin, 32 - margin : 48 + margin, 32 - margin : 48 + margin]
        patch = change(cut, 16, np.random.default_rng(3))
        expected = (grid[:, :16, :16, :16] - 7.5).square().sum(0).sqrt()[None] / zoom
        assert (patch - expected).abs().max() < 0.6  # a ball looks the same from all sides, edges of its voxels apart


def test_a_value_holds_from_its_step_on() -> None:
    assert [staged(step, [[0, 64], [10, 128]]) for step in (0, 9, 10, 99)] == [64, 64, 128, 128]


def test_both_shipped_configs_are_valid_and_the_recipe_has_the_weights_of_the_paper() -> None:
    read_settings(load_config(CONFIGS / "embedded.json", []), "autoencoder")
    config = load_config(CONFIGS / "maisi-autoencoder.json", [])
    settings = read_settings(config, "autoencoder")
    weights = ("l1", "perceptual", "kl", "adversarial_weight", "window_l1", "edges_l1")
    assert [settings[name] for name in weights] == [1, 0.3, 1e-7, 0.1, 0, 0]
    assert settings["train_encoder"] and settings["kl_per"] == "patch"
    read_settings(config, "encode")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"lr": 0}, r"'autoencoder\.lr'"), ({"lr_": 1}, "'lr_' was unexpected"), ({"patch": 18}, r"'autoencoder\.patch'")],
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_settings(autoencoder_config(tmp_path, **change), "autoencoder")
