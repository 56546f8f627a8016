"""Maps of the row's size brought back onto the original image."""

from __future__ import annotations

from pipelines.geometry import Affine
from pipelines.resample import resize
from pipelines.specs import Resample
from pipelines.types import AnyArray


def to_source(mask: AnyArray, affine: Affine, kernel: Resample) -> AnyArray:
    """Cut the part of a map that shows the image, and resize it to the original size.

    Where the image's edges in the row fall between two cells of a coarser map, the map is first resized to the row's
    size by the same kernel, so that the cut is exact.

    Args:
        mask: ``(h, w)`` float32 or uint8 over the whole row, at any resolution of the row's aspect (a stride-4 output
            of a 640 x 640 row is 160 x 160).
        affine: where the image lies in the row; the fit must keep the whole image.
        kernel: of the resize.

    Returns:
        ``(H, W)`` of the mask's dtype, the original image's size.

    Raises:
        ValueError: the mask has another aspect, or the fit cut a part of the image away.
    """
    row_height, row_width = affine.dst_hw
    if mask.ndim != 2 or abs(mask.shape[0] * row_width - mask.shape[1] * row_height) >= max(affine.dst_hw):
        raise ValueError(f"mask must be (h, w) of the aspect of a row of {affine.dst_hw}, got {mask.shape}")
    top, left = affine.corner_yx
    height, width = affine.resized_hw
    if min(top, left) < 0 or top + height > row_height or left + width > row_width:
        raise ValueError(f"the fit must keep the whole image to bring a mask back, got {affine}")
    edges = [_in_cells(edge, mask.shape[0], row_height) for edge in (top, top + height)]
    edges += [_in_cells(edge, mask.shape[1], row_width) for edge in (left, left + width)]
    if any(edge is None for edge in edges):
        return to_source(resize(mask, affine.dst_hw, kernel), affine, kernel)
    first_row, last_row, first_column, last_column = edges
    return resize(mask[first_row:last_row, first_column:last_column], affine.src_hw, kernel)


def _in_cells(edge: int, cells: int, pixels: int) -> int | None:
    """An edge in row pixels as a cell edge of the map, or None where it falls inside a cell."""
    whole, rest = divmod(edge * cells, pixels)
    return None if rest else whole
