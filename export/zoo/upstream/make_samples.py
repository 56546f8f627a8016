"""Makes the zoo's golden sample images from scikit-image's free photos and from rendered pages.

Run once, in the development environment: ``python export/zoo/upstream/make_samples.py export/zoo/golden``. Photos:
astronaut (NASA, public domain), chelsea and coffee (CC0). They are cut and scaled down so that the samples stay small
in the wheel; none is square, and every model has to resize them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont
from skimage import data

PAPER, INK, RED, GREEN = "#fbf4e4", "#27305a", "#c2472d", "#3a6b58"
TEXT = (
    "A photo goes in as bytes and comes",
    "out as a typed result. Every resize",
    "knows how to undo itself, so a box",
    "lands where the object is.",
    "",
    "What you measured is what you serve.",
    "Rows of one batch never see each other.",
)


def photo(name: str, box: tuple[int, int, int, int], size: tuple[int, int]) -> Image.Image:
    """Cut ``box`` (left, top, right, bottom) out of a scikit-image photo and scale it to ``size`` (width, height)."""
    return Image.fromarray(getattr(data, name)()).crop(box).resize(size, Image.Resampling.LANCZOS)


def dimmed(image: Image.Image) -> Image.Image:
    """A photo whose largest value is not 255, so that dividing by it differs from dividing by 255."""
    return image.point(lambda level: int(level * 0.6))


# Size and corner of each face. Sizes: one is cut by the left edge, two are so close that suppression has to choose, and
# two are so small that their scores lie just below and just above the threshold of 0.5.
FACES = (
    ((150, 170), (-40, 30)),
    ((110, 125), (50, 55)),
    ((60, 68), (240, 60)),
    ((60, 68), (262, 66)),
    ((31, 35), (200, 150)),
    ((26, 29), (280, 8)),
)


def faces() -> Image.Image:
    """One face at several sizes before a cup of coffee."""
    canvas = photo("coffee", (0, 0, 600, 400), (330, 205))
    for size, corner in FACES:
        canvas.paste(photo("astronaut", (150, 20, 300, 190), size), corner)
    return canvas


def strip() -> Image.Image:
    """A strip longer than the cap of 1280, with a face at each end."""
    canvas = Image.new("RGB", (1330, 75), GREEN)
    canvas.paste(photo("astronaut", (150, 20, 300, 190), (60, 68)), (30, 3))
    canvas.paste(photo("astronaut", (150, 20, 300, 190), (55, 62)), (1240, 8))
    return canvas


def page(size: tuple[int, int], font_px: int) -> Image.Image:
    """A printed page of ``size`` (width, height): a coloured heading, lines of text, a photo."""
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    margin = font_px
    draw.rectangle((0, 0, size[0], font_px * 2), fill=RED)
    draw.text((margin, font_px // 3), "Ocella report", font=ImageFont.load_default(font_px * 1.3), fill="white")
    y = font_px * 3
    for line in TEXT:
        draw.text((margin, y), line, font=ImageFont.load_default(font_px), fill=INK)
        y += int(font_px * 1.7)
    width = size[0] - 2 * margin
    canvas.paste(photo("coffee", (0, 0, 600, 400), (width, size[1] - y - margin)), (margin, y))
    return canvas


# Text, ink, height in pixels: from clear to all but gone, so that every threshold of the detector has work.
LINES = (
    ("A photo goes in as bytes and comes out as a typed result.", INK, 22),
    ("Every  resize  knows   how   to    undo    itself,", INK, 22),
    ("so a box lands where the object is.", "#b9b6c6", 22),
    ("What   you  measured   is    what    you     serve.", INK, 15),
    ("Rows of one batch never see each other.", "#e3dccc", 22),
    ("12.50    4 . 7 .   1 - 3 -   I I   l l   ; :", INK, 22),
    ("nearly gone by now, but not quite", "#ded6c4", 26),
    ("8px print nobody reads, with a date of 2024-05-01", INK, 9),
)
# Text, height in pixels, blur.
BLURRED = (
    ("blurred beyond reading", 20, 3.0),
    ("far away shop sign", 16, 3.5),
    ("tiny tiny print 123 a b c", 7, 0.8),
    ("x  y   z    w", 8, 1.0),
    ("moving bus number 42", 24, 4.5),
    ("- - . . ; ,  '  ' ", 12, 1.0),
)


def text_page() -> Image.Image:
    """A page of lines that are ever harder to see, dots that are no text, and a patch of blurred text."""
    canvas = Image.new("RGB", (690, 560), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, 690, 52), fill=RED)
    draw.text((26, 12), "Ocella report", font=ImageFont.load_default(28), fill="white")
    y = 74
    for line, ink, height in LINES:
        draw.text((26, y), line, font=ImageFont.load_default(height), fill=ink)
        y += int(height * 1.9)
    for i in range(6):
        draw.ellipse((40 + 70 * i, y + 10, 44 + 73 * i, y + 14 + 3 * i), fill=INK)
    draw.text((470, y - 20), "Ab", font=ImageFont.load_default(64), fill=GREEN)
    draw.text((580, y), "x y z", font=ImageFont.load_default(30), fill=RED)
    canvas.paste(blurred_patch(), (380, 70))
    return canvas


def blurred_patch() -> Image.Image:
    """Lines of text out of focus."""
    patch = Image.new("RGB", (300, 200), "#e8dfc9")
    y = 4
    for line, height, blur in BLURRED:
        mask = Image.new("L", (300, 40))
        ImageDraw.Draw(mask).text((6, 8), line, font=ImageFont.load_default(height), fill=255)
        patch.paste(Image.new("RGB", mask.size, INK), (0, y), mask.filter(ImageFilter.GaussianBlur(blur)))
        y += int(height * 1.5) + 8
    return patch


def main(folder: Path) -> None:
    """Write all samples below ``folder``."""
    astronaut = photo("astronaut", (100, 10, 420, 290), (250, 219))
    # Sizes whose resized longer side has a fraction, and whose crop has a half pixel: rounding shows.
    cat = photo("chelsea", (40, 0, 451, 300), (240, 175))
    cup = photo("coffee", (60, 20, 560, 390), (252, 186))
    upright = page((240, 310), 12)  # turned clockwise, as the model counts.
    samples = {
        "centerface/astronaut": astronaut,
        "centerface/faces": faces(),
        "centerface/strip": strip(),
        "u2netp/astronaut": photo("astronaut", (20, 0, 400, 512), (190, 256)),
        "u2netp/coffee": dimmed(photo("coffee", (60, 20, 560, 390), (120, 90))),
        "efficientnet-lite0/chelsea": cat,
        "efficientnet-lite0/coffee": cup,
        "text-detector/page": text_page(),
        "text-detector/page-tilted": text_page().rotate(
            9, resample=Image.Resampling.BICUBIC, expand=True, fillcolor=GREEN
        ),
        **{f"page-orientation/page-{angle}": upright.rotate(-angle, expand=True) for angle in (0, 90, 180, 270)},
    }
    for name, image in samples.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
