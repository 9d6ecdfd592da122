"""What was expensive to make is kept while its key stays the same."""

from __future__ import annotations

import pytest

from SynthCTLib.kept import Kept


def test_a_value_is_made_once_per_key_and_only_the_last_is_kept() -> None:
    kept, made = Kept(), list[str]()

    def make(name: str) -> str:
        made.append(name)
        return name

    for name in ("a", "a", "b", "b", "a"):
        assert kept.get(name, lambda name=name: make(name)) == name
    assert made == ["a", "b", "a"]


def test_what_could_not_be_made_is_tried_again() -> None:
    kept = Kept()
    with pytest.raises(ValueError, match="no"):
        kept.get("a", lambda: (_ for _ in ()).throw(ValueError("no")))
    assert kept.get("a", lambda: 1) == 1
