"""The stage *baselines* on small data made here: every method trains, goes on after a kill, and gets a scorecard."""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from SynthCTLib.errors import InputError
from training.baselines import fit as fit_module
from training.baselines.compare import METHODS, baselines, train
from training.baselines.fit import fit
from training.baselines.ha_gan_networks import Generator
from training.baselines.method import Work
from training.baselines.volumes import Volumes, on_grid, read_volumes, training_volumes
from training.config import load_config
from training.files import write_json

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "baselines.json"
SHAPE = (32, 32, 16)


@pytest.fixture
def config(tmp_path: Path) -> dict:
    """Six training and four held-out patients, networks of a few channels, time for one step."""
    grids = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    cases = []
    for number in range(10):
        rng = np.random.default_rng(number)
        mask = (sum((g / rng.uniform(0.7, 0.95)) ** 2 for g in grids) < 1).astype(np.uint8) * 200
        mask[(np.abs(grids[0]) < 0.2) & (mask > 0)] = 33
        hu = np.where(mask == 0, -1000, np.where(mask == 33, 500, 0)) + rng.normal(0, 20, SHAPE)
        split = "train" if number < 6 else "val"
        cases.append({"case_id": f"case_{number}", "split": split, "group": "a", "spacing": [8.0, 8.0, 8.0]})
        folder = tmp_path / "prepared" / f"case_{number}"
        folder.mkdir(parents=True)
        np.save(folder / "ct.npy", hu.astype(np.int16))
        np.save(folder / "mask.npy", mask)
    write_json(tmp_path / "prepared" / "cases.json", {"cases": cases, "left_out": []})
    config = load_config(CONFIG, [])
    config |= {
        "prepared": str(tmp_path / "prepared"), "run": str(tmp_path / "run"), "out": str(tmp_path / "cards"),
        "table": str(tmp_path / "page.md"), "group": "a", "minutes": 1e-3, "device": "cpu",
        "grid": {"shape": list(SHAPE), "spacing": [8.0, 8.0, 8.0]},
    }  # fmt: skip
    config["judge"] |= {
        "extractors": ["random-convolutions"], "slices": 2, "rounds": 2, "copy_encoder_steps": 1, "seen": 6,
    }  # fmt: skip
    for name in ("pixel-ddpm", "ldm"):
        config[name]["unet"] |= {
            "channels": [8, 8], "attention_levels": [False, False], "norm_num_groups": 4, "num_head_channels": 4,
        }  # fmt: skip
        config[name]["steps"] = 2
    config["ldm"]["autoencoder"]["network"] |= {"channels": [8, 8, 8]}
    config["ha-gan"] |= {"code": 8, "width": 64, "critic_width": 4}
    networks = config["synthct"]["network"]
    config["synthct"] |= {"steps": 2, "draws": 2}
    networks["autoencoder"] |= {"num_channels": [8, 8, 8], "latent_channels": 2, "num_res_blocks": [1, 1, 1]}
    for part in ("unet", "controlnet"):
        networks[part] |= {
            "in_channels": 2, "num_channels": [8, 8, 8], "norm_num_groups": 4, "attention_levels": [False] * 3,
            "num_head_channels": [0, 0, 8],
        }  # fmt: skip
    networks["unet"]["out_channels"] = 2
    networks["controlnet"]["conditioning_embedding_num_channels"] = [8, 8, 8]
    (tmp_path / "page.md").write_text(
        "Before\n<!-- tables of the scorecards: begin -->\nold\n<!-- tables of the scorecards: end -->\nafter\n",
        encoding="utf-8",
    )
    return config


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_once_and_then_makes_the_same_volumes_again(config: dict, name: str) -> None:
    training, held_out = read_volumes(config, "train"), read_volumes(config, "val")
    trained = train(config, name, training)
    volume = trained.make(held_out[0], 0)
    assert volume.shape == SHAPE and bool(volume.isfinite().all())
    again = train(config, name, training)
    assert again.training == trained.training and all(phase["steps"] > 0 for phase in again.training.values())
    assert torch.equal(again.make(held_out[0], 0), volume)
    assert not torch.equal(again.make(held_out[0], 1), volume)
    assert torch.equal(again.make(held_out[1], 0), volume) != trained.conditional  # masks count only where they should


class Line:
    """A phase that learns one number, with noise drawn at every step."""

    name = "line"
    constant_rate = False

    def __init__(self, kill_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(1, 1)
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(self.network.parameters(), lr=0.1)]
        self.steps, self.kill_at = 0, kill_at

    def step(self, rng: np.random.Generator) -> dict[str, float]:
        if self.steps == self.kill_at:
            raise KeyboardInterrupt
        self.steps += 1
        loss = (self.network(torch.from_numpy(rng.normal(size=(4, 1)).astype(np.float32))) - 1).square().mean()
        self.optimizers[0].zero_grad()
        loss.backward()
        self.optimizers[0].step()
        return {"loss": loss.item()}


def work(folder: Path, seconds: float, settings: dict) -> Work:
    volumes = Volumes(torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 4, 4, 4, dtype=torch.uint8))
    return Work(volumes, (4.0, 4.0, 4.0), settings, seconds, folder, 5, torch.device("cpu"))


def test_a_killed_run_goes_on_as_if_it_never_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(phase: Line, folder: str) -> dict[str, float]:
        ticks = count()
        monkeypatch.setattr(fit_module, "seconds_now", lambda _: float(next(ticks)))  # a second a step
        return fit(phase, work(tmp_path / folder, 9, {}), 9)

    monkeypatch.setattr(fit_module, "SAVE_EVERY", -1.0)  # a checkpoint after every step, also by a coarse clock
    whole, broken, resumed = Line(), Line(kill_at=4), Line()
    assert run(whole, "whole") == {"seconds": 9, "steps": 9}
    with pytest.raises(KeyboardInterrupt):
        run(broken, "broken")
    assert run(resumed, "broken") == {"seconds": 9, "steps": 9} and resumed.steps == 5
    expected = whole.network.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in resumed.network.state_dict().items())


def test_a_slab_of_ha_gan_is_that_part_of_the_whole_volume() -> None:
    torch.manual_seed(0)
    generator = Generator(SHAPE, 8, 64).eval()
    with torch.no_grad():
        for layer in generator.high:
            if isinstance(layer, nn.Sequential):
                layer[1] = nn.Identity()  # group norm, whose statistics are of the slab
        features = generator.features(torch.randn(1, 8))
        whole, slab = generator.high(features), generator.high(features[..., 1:3])
    assert whole.shape == (1, 1, *SHAPE) and slab.shape == (1, 1, *SHAPE[:2], 8)
    inner = slice(3, 5)  # the other slices see the edge of the slab
    assert torch.allclose(whole[..., 4:12][..., inner], slab[..., inner], atol=1e-6)


def test_volumes_are_cut_and_filled_up_around_the_middle() -> None:
    hu, mask = np.zeros((6, 3, 4), np.int16), np.full((6, 3, 4), 200, np.uint8)
    hu[:, 0], hu[0], mask[:, 2] = 100, 900, 0
    cut, labels = on_grid(hu, mask, np.full(3, 5.0), np.full(3, 5.0), (4, 5, 4))
    assert cut.shape == labels.shape == (4, 5, 4)
    assert cut[:, :, 0].tolist() == [[-1000, 100, 0, -1000, -1000]] * 4  # padded, as it was, air outside the body
    assert labels[:, :, 0].tolist() == [[0, 200, 200, 0, 0]] * 4


def test_mirrored_training_volumes_have_mirrored_masks(config: dict) -> None:
    volumes = training_volumes(read_volumes(config, "train"), torch.device("cpu"))
    assert volumes.unit.shape == (12, 1, *SHAPE) and volumes.mask.shape == (12, *SHAPE)
    assert torch.equal(volumes.unit[6], volumes.unit[0].flip(1))
    assert torch.equal(volumes.mask[6] > 0, (volumes.mask[0] > 0).flip(0))


def test_a_method_gets_a_scorecard_and_a_line_in_the_tables(config: dict, tmp_path: Path) -> None:
    config["methods"] = ["synthct-conditional"]
    baselines(config)
    card = json.loads((tmp_path / "cards" / "synthct-conditional.json").read_text(encoding="utf-8"))
    for table in ("frechet", "frechet_seen"):
        for plane in ("axial", "coronal", "sagittal", "mean"):
            found = card[table]["random-convolutions"][plane]
            assert found["ratio"] == pytest.approx(found["value"] / found["floor"])
    assert {"copies", "control"} <= set(card["memorization"]) and set(card["following"]) >= {"bone", "body"}
    assert card["n"] == 4 and card["n_training"] == 6 and len(card["data"]) == 64 and card["commit"]
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.startswith("Before\n") and page.endswith("after\n") and "old" not in page
    mean = card["frechet"]["random-convolutions"]["mean"]
    assert f"| {mean['value']:.1f} | {mean['ratio']:.2f} |" in page and f"| {mean['floor']:.1f} | 1 |" in page


def test_an_unknown_method_and_a_page_without_marks_are_refused_before_anything_is_trained(
    config: dict, tmp_path: Path
) -> None:
    unknown = deepcopy(config) | {"methods": ["vae"]}
    with pytest.raises(InputError, match="no method 'vae'; choose from pixel-ddpm, ldm"):
        baselines(unknown)
    (tmp_path / "page.md").write_text("no marks", encoding="utf-8")
    with pytest.raises(InputError, match="has no lines"):
        baselines(config)
    assert not (tmp_path / "run").exists()


def test_cases_that_are_not_there_are_named(config: dict) -> None:
    with pytest.raises(InputError, match="has no 'train' cases of 'b'"):
        read_volumes(config | {"group": "b"}, "train")


def test_a_run_goes_on_with_its_own_settings_only_but_may_be_sampled_in_other_ways(tmp_path: Path) -> None:
    fit(Line(), work(tmp_path, 1e-9, {"lr": 1, "steps": 10}), 1e-9)
    assert fit(Line(), work(tmp_path, 1e-9, {"lr": 1, "steps": 20}), 1e-9)["steps"] == 1
    for seconds, rate in ((1e-9, 2), (1.0, 1)):
        with pytest.raises(InputError, match="was trained with other settings than the config's"):
            fit(Line(), work(tmp_path, seconds, {"lr": rate}), seconds)


def test_volumes_are_kept_as_long_as_their_case_is_the_same(config: dict) -> None:
    first = read_volumes(config, "train")[0]
    path = Path(config["prepared"]) / first.name / "mask.npy"
    np.save(path, np.zeros_like(np.load(path)))  # the whole case becomes air
    assert (first.hu > -1000).any() and (read_volumes(config, "train")[0].hu == -1000).all()
