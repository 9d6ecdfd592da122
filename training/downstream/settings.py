"""What a config of the downstream experiments must say, checked before anything is computed."""

from __future__ import annotations

from pathlib import Path

from SynthCTLib.errors import InputError
from training.config import Config
from training.page_block import around_block
from training.settings import read_settings, require_keys

KEYS = (
    "seed", "prepared", "splits", "run", "out", "page", "figure", "spacing", "structures", "folds", "test_folds",
    "seeds", "shares", "arms", "compare", "tolerance_mm", "network.name", "generator.model", "generator.preset",
    "generator.trained_on", "generator.seen",
)  # fmt: skip


def check_config(config: Config, name: str) -> None:
    """Raise InputError, naming the key, for a missing entry, or one that cannot be used.

    ``name``: of the block of ``page`` that will be written.
    """
    require_keys(config, *KEYS)
    read_settings(config, "training", "segmenter")
    if not config["shares"] or not all(0 < share <= 1 for share in config["shares"]):
        raise InputError(f"'shares' must be numbers above 0 and up to 1, not {config['shares']}.")
    if config["folds"] < 2 or not set(config["test_folds"]) <= set(range(config["folds"])):
        raise InputError(f"'test_folds' must be among 0 … {config['folds'] - 1} and 'folds' at least 2.")
    unknown = {arm for pair in config["compare"] for arm in pair} - set(config["arms"])
    if unknown:
        raise InputError(f"There is no arm '{sorted(unknown)[0]}' to compare; known: {', '.join(config['arms'])}.")
    page = Path(config["page"])
    around_block(page, name)
    if not Path(config["figure"]).is_relative_to(page.parent):
        raise InputError(f"'figure' must be a file below {page.parent}, the folder of 'page', which shows it.")
