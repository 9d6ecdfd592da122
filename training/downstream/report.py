"""What the grid of runs says: scorecard, figure, and the tables in the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.config import Config
from training.downstream.figure import Curve, write_figure
from training.downstream.page import percent, short_commit, value_text
from training.downstream.runs import RunResult
from training.downstream.scores import METRICS, OVERALL
from training.downstream.statistics import mean_with_interval, paired_comparison
from training.files import write_json
from training.page_block import fill_block, table
from training.provenance import command, commit, data_hash

Values = dict[str, dict[str, dict[str, np.ndarray]]]  # structure → metric → arm → (patients,)


COPIED = ("generator", "structures", "spacing", "tolerance_mm", "network", "pretraining", "training", "seeds")
"""Parts of the config that the scorecard repeats, where the config has them."""


def report(config: Config, name: str, results: Sequence[RunResult]) -> None:
    """Write ``out`` (JSON), ``figure`` and the block ``name`` of ``page``."""
    structures = [*config["structures"], OVERALL]
    tested = {patient: result.run.fold for result in results for patient in result.scores}
    shares = {}
    for share in config["shares"]:
        values = per_patient([r for r in results if r.run.share == share], structures, sorted(tested))
        shares[f"{share:g}"] = {
            "arms": _each(values, mean_with_interval),
            "comparisons": _comparisons(values, config["compare"]),
        }
    card = {
        "name": name,
        "n": len(tested),
        "data": data_hash(config["prepared"]),
        "command": command(),
        "commit": commit(),
        "result_commits": sorted({result.commit for result in results}),
        **{key: config[key] for key in COPIED if key in config},
        "folds": dict(sorted(tested.items())),
        "shares": shares,
        "by_seed": _by_seed(results, config),
    }
    write_json(Path(config["out"]), card)
    curves = [
        Curve(arm, structure, {share: found["arms"][structure]["dice"][arm] for share, found in shares.items()})
        for structure in structures
        for arm in config["arms"]
    ]
    write_figure(Path(config["figure"]), curves, "share of the training patients", "Dice")
    fill_block(Path(config["page"]), name, page_text(card, structures, config))


def per_patient(results: Sequence[RunResult], structures: Sequence[str], patients: Sequence[str]) -> Values:
    """Scores by structure, metric and arm, (patients,) in their order, each the mean over seeds."""
    arms = list(dict.fromkeys(result.run.arm for result in results))
    collected: dict[tuple[str, str], list[Any]] = {}
    for result in results:
        for patient, scores in result.scores.items():
            collected.setdefault((result.run.arm, patient), []).append(scores)
    return {
        name: {
            metric: {
                arm: np.array([np.mean([s[name][metric] for s in collected[arm, patient]]) for patient in patients])
                for arm in arms
            }
            for metric in METRICS
        }
        for name in structures
    }


def _each(values: Values, measure: Any) -> dict[str, Any]:
    return {
        name: {metric: {arm: measure(v) for arm, v in arms.items()} for metric, arms in metrics.items()}
        for name, metrics in values.items()
    }


def _comparisons(values: Values, pairs: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {
        f"{first} against {second}": {
            name: {metric: paired_comparison(arms[first], arms[second]) for metric, arms in metrics.items()}
            for name, metrics in values.items()
        }
        for first, second in pairs
    }


def _by_seed(results: Sequence[RunResult], config: Config) -> list[dict[str, Any]]:
    """Mean over patients and structures, for each seed, share and arm: how much training itself scatters."""
    rows = []
    for seed in config["seeds"]:
        for share in config["shares"]:
            for arm in config["arms"]:
                runs = [r for r in results if (r.run.seed, r.run.share, r.run.arm) == (seed, share, arm)]
                scores = [s[OVERALL] for r in runs for s in r.scores.values()]
                means = {metric: float(np.mean([s[metric] for s in scores])) for metric in METRICS}
                rows.append({"seed": seed, "share": share, "arm": arm, **means})
    return rows


def page_text(card: dict[str, Any], structures: Sequence[str], config: Config) -> str:
    """Tables of means and of comparisons, with the command, as Markdown."""
    commits = "; ".join(short_commit(name) for name in card["result_commits"])
    head = (
        f"`{card['command']}`, commit {commits}: {card['n']} patients tested in "
        f"{len(set(card['folds'].values()))} of {config['folds']} folds, seed {', '.join(map(str, config['seeds']))}."
    )
    means = [
        [percent(share), arm, *(value_text(found["arms"][name]["dice"][arm]) for name in structures),
         value_text(found["arms"][OVERALL]["nsd"][arm])]
        for share, found in card["shares"].items()
        for arm in config["arms"]
    ]  # fmt: skip
    compared = [
        [percent(share), pair, name, metric, f"{c['difference']:+.3f} ({c['interval_95'][0]:+.3f} … "
         f"{c['interval_95'][1]:+.3f})", f"{c['effect']:+.2f}", f"{c['p']:.2g}"]
        for share, found in card["shares"].items()
        for pair, by_structure in found["comparisons"].items()
        for name, metrics in by_structure.items()
        for metric, c in metrics.items()
        if metric == "dice" or name == OVERALL
    ]  # fmt: skip
    return "\n\n".join(
        [
            head,
            "Dice (95 % interval over patients), last column NSD:",
            table(["real data", "trained on", *structures, f"NSD, {OVERALL}"], means),
            f"![Dice by share of the training patients]({_relative(config)})",
            "Paired over patients, difference (95 % interval), rank-biserial effect, Wilcoxon signed-rank p "
            f"({len(compared)} tests, p as they are):",
            table(["real data", "comparison", "structure", "metric", "difference", "effect", "p"], compared),
        ]
    )


def _relative(config: Config) -> str:
    return Path(config["figure"]).relative_to(Path(config["page"]).parent).as_posix()
