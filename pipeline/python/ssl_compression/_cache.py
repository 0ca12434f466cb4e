"""A cache of targets or features."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ._codec import Decode, Floats, decoder
from ._json_file import read_json
from ._part import DamagedPart, Place, list_parts, read_index, read_rows, verify

if TYPE_CHECKING:
    from ._dataset import CacheDataset

__all__ = ["Cache", "DamagedPart"]

Layer = int | Literal["logits"] | None
"""A layer's number, a teacher's logits, or None for a kind without layers, as ``fbank``."""

_FINGERPRINT = re.compile("[0-9a-f]{16}")
_PARTS_IN_MEMORY = 4


class Cache:
    """A cache that runs have filled, or the folder of one fingerprint in it.

    A part is hashed before the first row of it is given, and a damaged one raises DamagedPart, which
    names it.
    Without the package ``blake3`` that takes about a second for a part of 64 MB.

    Raises FileNotFoundError if ``path`` is no cache.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.fspath(path))
        absolute = self.path.resolve()
        if _is_fingerprint(absolute):
            self._folders = {absolute.name: absolute}
        elif absolute.is_dir():
            folders = sorted(folder for folder in absolute.iterdir() if _is_fingerprint(folder))
            self._folders = {folder.name: folder for folder in folders}
        else:
            raise FileNotFoundError(f"there is no folder {self.path}")
        if not self._folders:
            raise FileNotFoundError(
                f"{self.path} is no cache: no fingerprint.json is in it or one folder below"
            )
        self._verified: set[Path] = set()
        self._rows: OrderedDict[Path, list[Floats]] = OrderedDict()
        self._kept_parts = _PARTS_IN_MEMORY
        self._indices: dict[Path, dict[bytes, Place]] = {}
        self._ids: dict[Path, dict[str, list[Place]]] = {}
        self._decoders: dict[Path, Decode] = {}

    def __repr__(self) -> str:
        return f"Cache({str(self.path)!r})"

    @property
    def fingerprints(self) -> dict[str, dict[str, Any]]:
        """What each folder of the cache was computed by: kind, options, model's hashes, codec."""
        return {name: _fingerprint(folder) for name, folder in self._folders.items()}

    def layers(self, fingerprint: str | None = None) -> list[Layer]:
        """Returns what the cache has: numbers of layers, ``"logits"``, None for ``fbank``."""
        folder = self._folder(fingerprint)
        names = sorted(child.name for child in folder.iterdir() if child.is_dir())
        layers: list[Layer] = [None] if "rows" in names else []
        if "logits" in names:
            layers.append("logits")
        layers += [int(name[6:]) for name in names if re.fullmatch(r"layer-\d{2,}", name)]
        return layers

    def hidden(self, id: str, layer: Layer, fingerprint: str | None = None) -> Floats:
        """Returns the layer of an utterance: float32 (frames, width), 50 frames a second.

        ``id`` is what its manifest calls it; ``layer`` is a number, ``"logits"``, or None
        for ``fbank`` (100 frames a second). ``fingerprint`` may be left out if the cache has one.

        Raises KeyError if the cache has no such row, ValueError if it has several, as crops and
        views make them; ``rows`` gives all.
        """
        places = self._by_id(layer, fingerprint).get(id, [])
        if not places:
            raise KeyError(f"{self.path} has no row of {id!r} in layer {layer}")
        if len(places) > 1:
            lengths = ", ".join(str(place.frames) for place in places)
            raise ValueError(
                f"{id!r} has {len(places)} rows in layer {layer}, of {lengths} frames; "
                "`rows` gives all"
            )
        return self._read(places[0])

    def rows(
        self, layer: Layer, fingerprint: str | None = None
    ) -> Iterator[tuple[str, Floats]]:
        """Returns the rows of a layer part by part: id, float32 (frames, width)."""
        places = self._places(layer, fingerprint)
        return ((place.id, self._read(place)) for place in places.values())

    def dataset(
        self, layers: Sequence[Layer], fingerprint: str | None = None
    ) -> CacheDataset:
        """Returns a torch Dataset of the rows that have all of ``layers``.

        An item is ``(id, states)``: ``states`` has a float32 tensor (frames, width) for each layer,
        in the order of ``layers``. Items are in the order of the cache's parts, of which two for each
        layer stay in memory: reading in another order, as a shuffling sampler does, reads a part for
        each layer of an item.
        """
        from ._dataset import CacheDataset

        self._kept_parts = max(self._kept_parts, 2 * len(layers))
        name = self._folder(fingerprint).name
        places = [self._places(layer, name) for layer in layers]
        keys = [key for key in places[0] if all(key in layer for layer in places)] if places else []
        return CacheDataset([[layer[key] for layer in places] for key in keys], self._read)

    def _folder(self, fingerprint: str | None) -> Path:
        if fingerprint is None:
            if len(self._folders) > 1:
                names = ", ".join(self._folders)
                raise ValueError(f"{self.path} has several fingerprints, name one: {names}")
            return next(iter(self._folders.values()))
        if fingerprint not in self._folders:
            names = ", ".join(self._folders)
            raise KeyError(f"{self.path} has no fingerprint {fingerprint}, but {names}")
        return self._folders[fingerprint]

    def _places(self, layer: Layer, fingerprint: str | None) -> dict[bytes, Place]:
        """Returns where the rows of a layer are, by key; of equal keys the first."""
        parent = self._folder(fingerprint)
        folder = parent / _folder_name(layer)
        if not folder.is_dir():
            layers = self.layers(fingerprint)
            raise KeyError(f"{parent} has no layer {layer}, but {layers}")
        if folder not in self._indices:
            self._decoder(folder)
            places: dict[bytes, Place] = {}
            for part in list_parts(folder):
                index = read_index(part)
                for row, key in enumerate(index.keys):
                    places.setdefault(key, Place(part, row, index.ids[row], index.frames[row]))
            self._indices[folder] = places
        return self._indices[folder]

    def _by_id(self, layer: Layer, fingerprint: str | None) -> dict[str, list[Place]]:
        """Returns the places of a layer by id."""
        folder = self._folder(fingerprint) / _folder_name(layer)
        if folder not in self._ids:
            ids: dict[str, list[Place]] = {}
            for place in self._places(layer, fingerprint).values():
                ids.setdefault(place.id, []).append(place)
            self._ids[folder] = ids
        return self._ids[folder]

    def _read(self, place: Place) -> Floats:
        rows = self._rows.pop(place.part, None)
        if rows is None:
            if place.part not in self._verified:
                verify(place.part)
                self._verified.add(place.part)
            rows = read_rows(place.part, self._decoder(place.part.parent))
        self._rows[place.part] = rows
        while len(self._rows) > self._kept_parts:
            self._rows.popitem(last=False)
        return rows[place.row].copy()

    def _decoder(self, folder: Path) -> Decode:
        """Returns the decoder of the parts in a folder."""
        if folder not in self._decoders:
            codec = _fingerprint(folder.parent).get("codec", "f32")
            self._decoders[folder] = decoder(folder.parent, codec, folder.name)
        return self._decoders[folder]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": OrderedDict(), "_decoders": {}}


def _fingerprint(folder: Path) -> dict[str, Any]:
    return read_json(folder / "fingerprint.json")


def _is_fingerprint(folder: Path) -> bool:
    named = _FINGERPRINT.fullmatch(folder.name) is not None
    return named and (folder / "fingerprint.json").is_file()


def _folder_name(layer: Layer) -> str:
    if layer is None:
        return "rows"
    return layer if isinstance(layer, str) else f"layer-{layer:02}"
