"""Keeps the last thing that was expensive to make: a worker that runs job after job loads a model once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from SynthCTLib.cards import ModelCard
    from SynthCTLib.store import ModelStore


class Kept:
    """One value, made again only when its key changes; the old one is let go before the new one is made."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._value: Any = None

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value for ``key``. If making it fails, nothing is kept."""
        if key != self._key or self._value is None:
            self._key = self._value = None
            self._value = make()
            self._key = key
        return self._value


def files_key(card: ModelCard, store: ModelStore) -> Hashable:
    """What a model's networks depend on: its card and its files as they are on disk now."""
    files = [store.file(card, part) for part in card.files]
    states = [path.stat() for path in files if path.is_file()]
    return (card.id, str(card.path), repr(card.to_json()), tuple((s.st_ino, s.st_size, s.st_mtime_ns) for s in states))
