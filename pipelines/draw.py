"""Overlays: a result drawn on its image so that a person can judge it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipelines.similarity import Matrix, invert, move
from pipelines.types import (
    AnyArray,
    ByteArray,
    CascadeResult,
    Classification,
    Detections,
    Embedding,
    FloatArray,
    ObjectResult,
    Result,
    SegmentationMap,
    pixel_windows,
)

# Okabe and Ito's colours, which colour-blind people tell apart; black is left out: it is the text's.
PALETTE = ((0, 158, 115), (230, 159, 0), (86, 180, 233), (213, 94, 0), (204, 121, 167), (0, 114, 178), (240, 228, 66))
MASK_OPACITY = 0.5
MIN_KEYPOINT_SCORE = 0.3
_MAX_LINES = 5


def draw(image: ByteArray, result: Result) -> ByteArray:
    """Draw a result on its ``(H, W, 3)`` RGB image; returns a new image of the same size."""
    if isinstance(result, SegmentationMap):
        return _draw_mask(image, result)
    if isinstance(result, Detections):
        return _draw_detections(image, result)
    if isinstance(result, CascadeResult):
        tinted = _tint_crops(image, result)
        return _draw_detections(tinted, result.detections, notes=[_note(each) for each in result.objects])
    return _draw_lines(image, _lines(result))


def color_of(class_id: int) -> tuple[int, int, int]:
    """RGB colour of a class; colours repeat after seven classes."""
    return PALETTE[class_id % len(PALETTE)]


def _line_width(image: AnyArray) -> int:
    return max(2, round(max(image.shape[:2]) / 300))


def _font(image: AnyArray) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=max(11, round(max(image.shape[:2]) / 40)))


def _draw_detections(image: ByteArray, result: Detections, *, notes: Sequence[str] = ()) -> ByteArray:
    """Draw boxes, outlines, masks and landmarks; ``notes``, where there are any, follow each object's name."""
    canvas = Image.fromarray(_tint_objects(image, result))
    pen = ImageDraw.Draw(canvas)
    width, font = _line_width(image), _font(image)
    edge = width if result.angles is None else width + 1  # slanting lines look thinner.
    for i in reversed(range(len(result))):  # the best is drawn last, on top.
        color = color_of(int(result.class_ids[i]))
        if result.masks is None or not result.masks[i].any():  # else the mask's own outline shows the object.
            outline = _outline(result, i)
            pen.line([*outline, outline[0], outline[1]], fill=color, width=edge, joint="curve")
        if result.keypoints is not None:
            _draw_skeleton(pen, result.keypoints[i], result.skeleton, color, width)
    for i in reversed(range(len(result))):
        if len(result) > 1 and result.boxes[i, 3] - result.boxes[i, 1] < _text_height(pen, font):
            continue  # a name taller than its box would hide the neighbours: lines of text, a far crowd.
        name = result.labels[i] if result.labels else f"class {result.class_ids[i]}"
        x, y = result.boxes[i, :2].tolist()
        color = color_of(int(result.class_ids[i]))
        _label(pen, canvas.size, (x, y), f"{name} {result.scores[i]:.2f}{notes[i] if notes else ''}", color, font)
    return np.asarray(canvas).copy()


def _tint_objects(image: ByteArray, result: Detections) -> ByteArray:
    """Tint each object's mask in its class's colour and trace its edge; objects of one class stay apart by the edge."""
    drawn = image.copy()
    objects = list(
        zip(result.masks or (), result.class_ids.tolist(), pixel_windows(result.boxes).tolist(), strict=False)
    )
    for mask, class_id, (left, top, right, bottom) in reversed(objects):
        under = drawn[top:bottom, left:right]
        tinted = under[mask] * (1 - MASK_OPACITY) + np.array(color_of(class_id)) * MASK_OPACITY
        under[mask] = np.rint(tinted).astype(np.uint8)
    for mask, class_id, (left, top, _, _) in reversed(objects):
        if mask.any():
            contours, _ = cv2.findContours(
                mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(left, top)
            )
            cv2.drawContours(drawn, contours, -1, color_of(class_id), _line_width(image))
    return drawn


def _note(result: ObjectResult) -> str:
    """What the second model of a cascade says of an object, where it is words."""
    if not isinstance(result, Classification) or not len(result):
        return ""
    name = result.labels[0] if result.labels else f"class {result.class_ids[0]}"
    return f": {name} {result.scores[0]:.0%}"


def _tint_crops(image: ByteArray, result: CascadeResult) -> ByteArray:
    """Tint what the second model marks in each object's crop, brought back into the image."""
    drawn = image.copy()
    for i, each in enumerate(result.objects):
        if isinstance(each, SegmentationMap):
            _tint_crop(drawn, each, result.transforms[i].astype(np.float64))
    return drawn


def _tint_crop(drawn: ByteArray, result: SegmentationMap, transform: Matrix) -> None:
    """Draw a crop's mask on its part of the image: each pixel shows the crop's nearest."""
    height, width = result.class_map.shape
    corners = move(invert(transform), np.array([(0, 0), (width, 0), (width, height), (0, height)]))
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, drawn.shape[1::-1]).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, drawn.shape[1::-1]).astype(int).tolist()
    # The crop may be cut from anywhere and hold anything beyond the image; only what lies in the image is drawn.
    x, y = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
    column, row = (
        np.rint(a * x + b * y + c).astype(np.int64)
        for a, b, c in transform  # pixel to pixel, as the crop was cut
    )
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    picked = row.clip(0, height - 1), column.clip(0, width - 1)
    class_map = np.where(inside, result.class_map[picked], result.class_map.dtype.type(0))
    alpha = None if result.alpha is None else np.where(inside, result.alpha[picked], np.uint8(0))
    drawn[top:bottom, left:right] = _draw_mask(drawn[top:bottom, left:right], SegmentationMap(class_map, alpha))


def _draw_skeleton(
    pen: ImageDraw.ImageDraw,
    keypoints: FloatArray,
    skeleton: Sequence[tuple[int, int]],
    color: tuple[int, int, int],
    width: int,
) -> None:
    """Draw ``(K, 3)`` points and the lines between them, leaving out those that the model is unsure of."""
    points = [(x, y) for x, y, _ in keypoints.tolist()]
    sure = (keypoints[:, 2] >= MIN_KEYPOINT_SCORE).tolist()
    joined = [(points[a], points[b]) for a, b in skeleton if sure[a] and sure[b]]
    for thickness, ink in ((2 * width + 3, (255, 255, 255)), (2 * width, color)):  # white: tints have its colour too.
        for start, end in joined:
            pen.line([start, end], fill=ink, width=thickness)
    for (x, y), shown in zip(points, sure, strict=True):
        if shown:
            pen.circle((x, y), radius=width * 1.5, fill=PALETTE[6], outline=(0, 0, 0))


def _outline(result: Detections, i: int) -> list[tuple[float, float]]:
    if result.polygons is not None:
        return [(x, y) for x, y in result.polygons[i].tolist()]
    x1, y1, x2, y2 = result.boxes[i].tolist()
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _text_height(pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> float:
    return float(pen.textbbox((0, 0), "Ag", font=font)[3])


def _label(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    corner: tuple[float, float],
    text: str,
    color: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Write text above ``corner``, moved so that it stays inside the picture."""
    _, _, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right + 6, bottom + 4
    x = min(max(0, corner[0]), max(0, size[0] - width))
    y = corner[1] - height if corner[1] >= height else min(corner[1], max(0, size[1] - height))
    pen.rectangle((x, y, x + width, y + height), fill=color)
    pen.text((x + 3, y + 1), text, fill=_ink(color), font=font)


def _ink(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever reads better (ITU-R BT.601 luma)."""
    luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    return (0, 0, 0) if luma > 110 else (255, 255, 255)


def _draw_mask(image: ByteArray, result: SegmentationMap) -> ByteArray:
    shown = result.class_map > 0 if result.alpha is None else result.alpha / np.float32(255)
    opacity = shown.astype(np.float32)
    colors = np.array(PALETTE, np.float32)[(result.class_map.astype(np.int64) - 1) % len(PALETTE)]
    weight = (opacity * MASK_OPACITY)[..., None]
    drawn = np.rint(image * (1 - weight) + colors * weight).astype(np.uint8)
    for class_id in np.unique(result.class_map).tolist():
        if class_id:
            region = (result.class_map == class_id).astype(np.uint8)
            contours, _ = cv2.findContours(region, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, contours, -1, PALETTE[(class_id - 1) % len(PALETTE)], _line_width(image))
    return drawn


def _lines(result: Classification | Embedding) -> list[str]:
    if isinstance(result, Embedding):
        return [f"embedding of {len(result.vector)} values"]
    names = result.labels or tuple(f"class {class_id}" for class_id in result.class_ids)
    rows = [f"{name}  {score:.1%}" for name, score in zip(names, result.scores, strict=True)]
    return rows[:_MAX_LINES]


def _draw_lines(image: ByteArray, lines: Sequence[str]) -> ByteArray:
    """Write lines on a dark panel in the top left corner, each cut to the picture's width."""
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas, "RGBA")
    font = _font(image)
    fitted = [_shorten(pen, line, image.shape[1] - 16, font) for line in lines]
    text = "\n".join(fitted)
    _, _, right, bottom = pen.multiline_textbbox((8, 6), text, font=font)
    pen.rectangle((0, 0, right + 8, bottom + 8), fill=(0, 0, 0, 170))
    pen.multiline_text((8, 6), text, fill=(255, 255, 255), font=font)
    return np.asarray(canvas).copy()


def _shorten(
    pen: ImageDraw.ImageDraw, text: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    if pen.textlength(text, font=font) <= width:
        return text
    while len(text) > 1 and pen.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"
