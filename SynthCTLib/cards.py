"""Model cards: the JSON that tells the engine all it needs to know about a model (schema: ``card.schema.json``).

Cards that come with SynthCT lie in ``Resources/models/<id>/card.json``; a user's own lie in ``<store>/<id>/card.json``
or anywhere else, named by path.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SynthCTLib.errors import ModelError
from SynthCTLib.resources import resource_path

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

    from SynthCTLib.store import ModelStore

PARTS = ("autoencoder", "unet", "controlnet")
"""The networks of a model of the MAISI family; :attr:`ModelCard.parts` are those of any model."""
WITHOUT_MASK = "medical-diffusion"
"""The family that samples volumes without a segmentation."""


@dataclass(frozen=True)
class ModelCard:
    """One model card; attributes are the keys of the JSON (see ``card.schema.json``), ``path`` is where it was read."""

    schema: int
    id: str
    title: str
    family: str
    embedded: bool
    networks: dict[str, Any]
    files: dict[str, Any]
    latent: dict[str, Any]
    scheduler: dict[str, Any]
    conditioning: dict[str, Any]
    intensity: dict[str, Any]
    grid: dict[str, Any]
    trained_on: dict[str, Any]
    defaults: dict[str, Any]
    licence: dict[str, Any]
    sources: list[dict[str, Any]]
    citation: list[str]
    training: dict[str, Any] | None
    quality: dict[str, Any]
    intended_use: list[str]
    excluded_use: list[str]
    path: Path
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)
    modality: str = "ct"

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the networks, each of which has a file."""
        return tuple(self.networks)

    @property
    def takes_mask(self) -> bool:
        """Whether the model paints a segmentation."""
        return self.family != WITHOUT_MASK

    def to_json(self) -> dict[str, Any]:
        """The card as it is in its file."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "path"}
        if not self.presets:
            del values["presets"]
        if self.modality == "ct":
            del values["modality"]
        return values


@lru_cache(maxsize=1)
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # here, so that shipped_cards() needs the standard library only

    schema = json.loads(resource_path("models", "card.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def read_card(path: Path) -> ModelCard:
    """Read and check one ``card.json``.

    Raises:
        ModelError: the file cannot be read, is no JSON, or breaks the schema.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"The model card {path} cannot be read ({error.strerror}); check the path.") from error
    except ValueError as error:
        raise ModelError(f"The model card {path} is no valid JSON ({error}); correct or restore it.") from error
    from jsonschema.exceptions import best_match

    worst = best_match(_validator().iter_errors(data))
    if worst is not None:
        where = "/".join(str(part) for part in worst.absolute_path) or "the top level"
        raise ModelError(f"The model card {path} is not valid at {where}: {worst.message}; correct this entry.")
    card = ModelCard(**data, path=path)
    _check_networks(card)
    return card


def _check_networks(card: ModelCard) -> None:
    """Raise ModelError unless each network has a file and a refiner gets images of even sides."""
    for part in sorted(set(card.networks) ^ set(card.files)):
        lacks = "files" if part in card.networks else "networks"
        raise ModelError(f"The model card {card.path} has no '{part}' in its {lacks}; name it in both or in none.")
    if "refiner" in card.networks and card.latent["downsampling"] % 2:
        raise ModelError(
            f"The model card {card.path} has a refiner, which needs an even latent downsampling; correct it."
        )


def shipped_cards() -> list[ModelCard]:
    """The cards that come with SynthCT, embedded first, unchecked: for programs that have no jsonschema.

    Raises ModelError when one cannot be read, which means the installation is damaged.
    """
    paths = sorted(resource_path("models").glob("*/card.json"))
    try:
        cards = [ModelCard(**json.loads(path.read_text(encoding="utf-8")), path=path) for path in paths]
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"A model card of SynthCT is damaged ({error}); install SynthCT again.") from error
    return _in_order(cards)


def _in_order(cards: list[ModelCard]) -> list[ModelCard]:
    """Embedded ones first, the newest version before older ones; then the others by id."""
    embedded = sorted((card for card in cards if card.embedded), key=lambda card: card.id, reverse=True)
    return embedded + sorted((card for card in cards if not card.embedded), key=lambda card: card.id)


def list_cards(store: ModelStore | None = None) -> list[ModelCard]:
    """All cards that come with SynthCT (embedded first), then those in the user's store whose id is not among them.

    Cards in the store that are not valid are left out; :func:`invalid_cards` names them.
    """
    own = _in_order([read_card(path) for path in resource_path("models").glob("*/card.json")])
    if store is not None:
        known = {card.id for card in own}
        own += [card for card in _stored(store).values() if isinstance(card, ModelCard) and card.id not in known]
    return own


def invalid_cards(store: ModelStore) -> dict[Path, ModelError]:
    """Cards in the user's store that cannot be used, each with the sentence that says why and names its file."""
    return {path: card for path, card in _stored(store).items() if isinstance(card, ModelError)}


def _stored(store: ModelStore) -> dict[Path, ModelCard | ModelError]:
    """What reading each card in the store gives."""
    found: dict[Path, ModelCard | ModelError] = {}
    for path in sorted(store.root.glob("*/card.json")):
        try:
            found[path] = read_card(path)
        except ModelError as error:
            found[path] = error
    return found


def load_card(id_or_path: str | Path, store: ModelStore | None = None) -> ModelCard:
    """The card with this id, or the one in this file or folder.

    Raises:
        ModelError: no such card (the nearest ids are named), or it is not valid.
    """
    text = str(id_or_path)
    for candidate in _candidates(text, store):
        if candidate.is_file():
            return read_card(candidate)
    if "/" in text or "\\" in text or text.endswith(".json"):
        raise ModelError(f"There is no model card at {text}; give a card.json, its folder, or the id of a model.")
    known = [card.id for card in list_cards(store)]
    near = difflib.get_close_matches(text.casefold(), known, n=2, cutoff=0.4) or known
    raise ModelError(f"There is no model '{text}'; did you mean {' or '.join(near)}? (synthct models list shows all)")


def _candidates(text: str, store: ModelStore | None) -> list[Path]:
    """Where a card of this id or path may lie; an id never leaves the models' folders."""
    path = Path(text)
    found = []
    if path.name == text and text not in ("", ".", ".."):
        found.append(resource_path("models", text, "card.json"))
        if store is not None:
            found.append(store.root / text / "card.json")
    return [*found, path / "card.json", path]
