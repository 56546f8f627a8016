"""Embedding a gallery anew from the crops that it keeps, for another embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.errors import GalleryError
from pipelines.types import FloatArray
from serving.gallery.binding import Binding
from serving.gallery.store import Store

BATCH = 32


def reindex(folder: Path, binding: Binding, embed: Callable[[Sequence[bytes]], FloatArray]) -> int:
    """Put the embeddings of another model in the place of a gallery's; returns how many.

    Nothing is written until all crops are embedded; then all is, in one transaction. The thresholds go, since they were
    measured with the old embeddings.

    Args:
        folder: of the gallery.
        binding: of the new model; its faces must be cut out as the kept crops were.
        embed: embeds crops, ``(N, D)``.

    Raises:
        GalleryError: the gallery is bound to this model already, a sample has no crop, crops are cut otherwise, or the
            gallery changed meanwhile.
    """
    with Store(folder, None) as store:
        if store.binding == binding:
            raise GalleryError(f"{folder} holds the embeddings of this package already: nothing to do")
        if store.binding.crop != binding.crop:
            raise GalleryError(
                f"the crops of {folder} are cut out as {store.binding.crop}, the new model wants {binding.crop}: "
                "enrol from the photos again"
            )
        crops = dict(store.crops())
        missing = sum(crop is None for crop in crops.values())
        if missing:
            raise GalleryError(
                f"{missing} of {len(crops)} samples of {folder} keep no crop: enrol them from their photos again "
                "(crops are kept with --keep-crops)"
            )
        vectors: dict[int, FloatArray] = {}
        for part in _batches([(number, crop) for number, crop in crops.items() if crop is not None]):
            found = embed([crop for _, crop in part])
            vectors.update(zip((number for number, _ in part), found, strict=True))
        store.rewrite(binding, vectors)
    return len(vectors)


def _batches(rows: Sequence[tuple[int, bytes]]) -> list[Sequence[tuple[int, bytes]]]:
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
