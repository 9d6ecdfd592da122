"""Time and memory before a run: the arithmetic, that more work never takes less, and learning from reports."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from SynthCTModule.Cards import shippedCards
from SynthCTModule.Estimates import GPU_SPEED, USUAL_MEMORY, Device, Estimate, Estimates
from SynthCTModule.OwnRuns import OwnRuns
from SynthCTModule.Parameters import RunParameters
from SynthCTModule.RunProgress import EACH, ONCE, ROUGH

SAMPLING = {"steps": 10, "solver": "ab2", "guidance": 0.0, "temperature": 1.0}
GB = 10**9
DATA: dict[str, Any] = {
    "machine": {"threads": 2},
    "start": 4.0,
    "load": 1.0,
    "speed": {"embed": 1e9, "denoise": 2e9, "decode": 4e9},
    "seconds_per_megavoxel": {"prepare": 2.0, "check": 0.5, "write": 0.5},
    "program_bytes": 500_000_000,
    "bytes_per_feature_byte": 1.5,
    "cards": {
        "model": {
            "weights": 1_000_000,
            "voxels": [100_000, 1_000_000, 10_000_000],
            "embed": {"work": [1e8, 1e9, 1e10], "bytes": [1e6, 1e7, 1e8]},
            "denoise": {"linear": 1000.0, "quadratic": 0.001, "bytes_per_voxel": 50.0},
            "decode": [
                {"budget": 2 * GB, "work": [4e9, 8e10, 2e12], "bytes": [1e8, 1e9, 2e9]},
                {"budget": 8 * GB, "work": [4e9, 4e10, 4e11], "bytes": [1e8, 1e9, 8e9]},
            ],
        }
    },
}


class Memory:
    """Settings that a test can look at."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def value(self, key: str, default: str) -> str:
        return self.values.get(key, default)

    def setValue(self, key: str, value: str) -> None:
        self.values[key] = value


def estimates(settings: Memory | None = None, cores: int = 4) -> Estimates:
    return Estimates(settings or Memory(), DATA, cores)


def one(shape: tuple[int, int, int] = (100, 100, 100), **options: Any) -> Estimate:
    sampling = SAMPLING | options.pop("sampling", {})
    found = estimates(**options.pop("of", {})).estimate("model", shape, sampling, **options)
    assert found is not None
    return found


def report(denoise: float, **job: Any) -> dict[str, Any]:
    timings = {
        "prepare": 2.2,
        "load": 1.0,
        "embed": 1.0,
        "denoise": denoise,
        "decode": 10.0,
        "check": 0.5,
        "write": 0.6,
    }
    return {
        "job": {"count": 1, "retries": 0, **job},
        "attempts": [{}] * (1 + job.get("tried_again", 0)),
        "model": {"id": "model"},
        "device": {"device": "cpu"},
        "grid": {"shape": [100, 100, 100]},
        "settings": SAMPLING,
        "timings": timings | {"denoise": denoise},
    }


def test_seconds_are_work_divided_by_speed() -> None:
    stages = one().stages
    assert stages["embed"] == pytest.approx(1e9 / 1e9)
    assert stages["denoise"] == pytest.approx(10 * (1000 * 1e6 + 0.001 * 1e12) / 2e9)
    assert stages["decode"] == pytest.approx(4e10 / 4e9)
    assert stages["prepare"] == pytest.approx(0.2 + 2.0) and stages["write"] == pytest.approx(0.1 + 1.0)
    assert set(stages) == {*ONCE, *EACH}


def test_memory_is_program_weights_and_the_greatest_stage() -> None:
    assert one().memory == pytest.approx(0.5e9 + 1.5 * 1e9 + 4e6)
    assert one(device=Device("cuda", 24 * GB)).memory == pytest.approx(1e9 / 2 + 2e6)


def test_every_further_ct_costs_its_own_stages_only() -> None:
    single, three = one(), one(count=3)
    assert three.seconds - single.seconds == pytest.approx(2 * sum(single.stages[stage] for stage in EACH))
    assert three.memory == single.memory


def test_steps_and_guidance_cost_evaluations() -> None:
    plain = one().stages["denoise"]
    assert one(sampling={"steps": 20}).stages["denoise"] == pytest.approx(2 * plain)
    assert one(sampling={"guidance": 1.5}).stages["denoise"] == pytest.approx(2 * plain)


def test_a_larger_grid_never_takes_less() -> None:
    found = [one((64, 64, depth)) for depth in range(8, 4000, 97)]
    for small, large in pairwise(found):
        assert large.seconds > small.seconds and large.memory >= small.memory
        assert all(large.stages[stage] >= small.stages[stage] for stage in small.stages)


def test_a_device_with_little_memory_decodes_in_more_pieces_and_takes_longer() -> None:
    little, much = (one((200, 200, 200), device=Device("cpu", memory)) for memory in (4 * GB, 32 * GB))
    assert little.memory < much.memory and little.stages["decode"] > much.stages["decode"]


def test_more_cores_are_faster_up_to_a_limit() -> None:
    seconds = [one(of={"cores": cores}).stages["denoise"] for cores in (2, 4, 8, 16, 64)]
    assert seconds[0] == seconds[1] > seconds[2] > seconds[3] == seconds[4]


def test_an_unknown_gpu_is_guessed_and_then_learned() -> None:
    device = Device("cuda:1", 24 * GB)
    settings = Memory()
    before = estimates(settings).estimate("model", (100, 100, 100), SAMPLING, device)
    assert before is not None and not before.learned
    assert before.stages["decode"] == pytest.approx(4e10 / GPU_SPEED)
    told = report(0.04) | {"device": {"device": "cuda"}}
    estimates(settings).learn(told)
    after = estimates(settings).estimate("model", (100, 100, 100), SAMPLING, device)
    assert after is not None and after.learned and after.stages["denoise"] == pytest.approx(0.04)
    other = estimates(settings).estimate("model", (100, 100, 100), SAMPLING, Device("cpu"))
    assert other is not None and not other.learned


def test_the_first_report_is_believed_and_later_ones_are_averaged() -> None:
    settings = Memory()
    estimates(settings).learn(report(40.0))
    assert one(of={"settings": settings}).stages["denoise"] == pytest.approx(40.0)
    estimates(settings).learn(report(10.0))
    assert one(of={"settings": settings}).stages["denoise"] == pytest.approx(20.0), "half of the way, in ratios"
    for _ in range(10):
        estimates(settings).learn(report(10.0))
    assert one(of={"settings": settings}).stages["denoise"] == pytest.approx(10.0, rel=0.01)


def test_several_cts_and_tries_teach_the_time_of_one() -> None:
    for changes, denoise in (({"count": 4}, 40.0), ({"retries": 3, "tried_again": 3}, 40.0)):
        settings = Memory()
        estimates(settings).learn(report(denoise, **changes))
        assert one(of={"settings": settings}).stages["denoise"] == pytest.approx(10.0)
    settings = Memory()
    estimates(settings).learn(report(40.0, count=2, retries=2))
    assert not settings.values, "nobody knows how many tries the first CT took"


def test_a_report_that_cannot_be_true_teaches_nothing() -> None:
    settings = Memory()
    estimates(settings).learn(report(1e6))
    assert one(of={"settings": settings}).stages["denoise"] == one().stages["denoise"]


def test_damaged_settings_count_as_none() -> None:
    settings = Memory()
    settings.values["SynthCT/SecondsFactors"] = "{broken"
    assert one(of={"settings": settings}).seconds == one().seconds
    estimates(settings).learn(report(40.0))
    assert json.loads(settings.values["SynthCT/SecondsFactors"])


def test_a_model_whose_work_nobody_has_counted_has_no_estimate() -> None:
    assert estimates().estimate("my own", (64, 64, 64), SAMPLING) is None


def test_an_estimate_is_told_in_a_few_words() -> None:
    assert Estimate({}, 42.0, 1_540_000_000, False).text() == "about 40 s, 1.5 GB"


@pytest.mark.parametrize("card", shippedCards(), ids=lambda card: card.id)
def test_every_shipped_model_has_an_estimate_for_all_sizes_it_allows(card: Any) -> None:
    from SynthCTLib.grid import axis_rules

    shipped, rules = Estimates(Memory(), cores=8), axis_rules(card.grid)
    sampling = RunParameters(card.id).sampling(card)
    sizes = [tuple(rule.sizes[end] for rule in rules) for end in (0, -1)]
    small, large = (shipped.estimate(card.id, size, sampling, Device("cpu", USUAL_MEMORY)) for size in sizes)
    assert small is not None and large is not None
    assert 0 < small.seconds < large.seconds and 5e8 < small.memory < large.memory < 64 * GB


def test_a_preset_with_fewer_steps_is_estimated_as_faster() -> None:
    card = shippedCards()[0]
    shipped = Estimates(Memory(), cores=8)
    size = card.grid["defaults"]["*"]["size"]
    seconds = []
    for preset in ("draft", "standard", "best"):
        found = shipped.estimate(card.id, size, RunParameters(card.id, preset=preset).sampling(card))
        assert found is not None
        seconds.append(found.seconds)
    assert seconds == sorted(seconds) and seconds[0] < seconds[2]


def test_a_model_of_the_users_own_takes_as_long_as_its_last_run_in_proportion() -> None:
    own, other = OwnRuns(Memory()), {"model": {"id": "own"}}
    assert own.estimate("own", (100, 100, 100), SAMPLING) is None
    own.learn(report(30.0) | other)
    same = own.estimate("own", (100, 100, 100), SAMPLING)
    assert same is not None and same.learned and same.memory is None
    assert same.stages["denoise"] == pytest.approx(30.0) and same.stages["prepare"] == pytest.approx(2.2)
    larger = own.estimate("own", (200, 100, 100), SAMPLING | {"steps": 30}, count=2)
    assert larger is not None and larger.stages["denoise"] == pytest.approx(6 * 30.0)
    assert larger.seconds == pytest.approx(ROUGH["start"] + 2 * (2.2 + 1 + 1) + 2 * (180 + 2 * (10 + 0.5 + 0.6)))
    assert own.estimate("own", (100, 100, 100), SAMPLING, Device("cuda")) is None
    assert same.text() == "about 50 s"


def test_a_run_without_a_segmentation_has_no_stages_of_one() -> None:
    own = OwnRuns(Memory())
    told = report(0.0) | {"model": {"id": "own"}, "result": {"shape": [10, 10, 10]}}
    told["timings"] = {"denoise": 4.0, "decode": 2.0, "write": 1.0, "total": 7.0}
    del told["attempts"], told["grid"]
    own.learn(told)
    found = own.estimate("own", (10, 10, 10), SAMPLING, count=3)
    assert found is not None and found.stages["prepare"] == found.stages["embed"] == 0
    assert found.seconds == pytest.approx(ROUGH["start"] + ROUGH["load"] + 3 * 7.0)
