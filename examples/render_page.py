"""Renders ``images/page.png``, a printed page: a title, two columns of text, a figure and a page number."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE_WH = (850, 1100)  # US letter at 100 dpi
MARGIN = 70
GUTTER = 40
LINE_HEIGHT = 29
PAPER, INK, ACCENT, GRAY = (252, 250, 244), (32, 32, 36), (170, 44, 32), (96, 96, 104)

TITLE = "A short history of the printed page"
SUBTITLE = "How ink, lead and paper taught people to read in columns"
PARAGRAPHS = (
    "Long before the press, scribes already ruled their parchment into columns. A short line is easy to find again: "
    "the eye travels a hand's breadth, returns, and seldom lands on the wrong row. Wide pages tire the reader, and "
    "every monastery knew it.",
    "When movable type arrived in Mainz, the printers kept what the scribes had learned. Two columns of forty-two "
    "lines made a handsome page, and they spared paper, which cost more than the labour of setting the type.",
    "Newspapers took the idea further. Narrow columns let a compositor swap one story for another an hour before the "
    "presses ran, without touching the rest of the sheet. Headlines grew, rules divided the stories, and small "
    "pictures cut in wood broke up the gray.",
    "Colour came last. A second ink meant a second pass through the press and a second chance to spoil the sheet, so "
    "red was kept for initials, feast days and the name of the paper itself.",
    "Screens have no such limits, and yet a well made page still looks much as it did: a clear title, an even gray "
    "of text, generous margins for the thumbs, and a number at the foot to say how far one has come.",
)
CAPTION = "Fig. 1. Sheets printed in a day, by press"


def render_page() -> Image.Image:
    """Draw the page upright, RGB, with the font that Pillow brings along."""
    page = Image.new("RGB", SIZE_WH, PAPER)
    draw = ImageDraw.Draw(page)
    width, height = SIZE_WH
    draw.text((MARGIN, 60), TITLE, font=ImageFont.load_default(38), fill=INK)
    draw.text((MARGIN, 112), SUBTITLE, font=ImageFont.load_default(20), fill=GRAY)
    draw.rectangle((MARGIN, 150, width - MARGIN, 155), fill=ACCENT)
    column = (width - 2 * MARGIN - GUTTER) // 2
    right = MARGIN + column + GUTTER
    _text_column(draw, PARAGRAPHS[:3], x=MARGIN, width=column)
    figure_top = _text_column(draw, PARAGRAPHS[3:], x=right, width=column)
    _figure(draw, (right, figure_top, right + column, figure_top + 190))
    draw.text((width // 2, height - 50), "17", font=ImageFont.load_default(18), fill=GRAY, anchor="mm")
    return page


def _text_column(draw: ImageDraw.ImageDraw, paragraphs: tuple[str, ...], *, x: int, width: int) -> int:
    """Set paragraphs below the rule, ragged right; returns the y below the last one."""
    font = ImageFont.load_default(21)
    y = 180
    for paragraph in paragraphs:
        line = ""
        for word in [*paragraph.split(), None]:
            longer = f"{line} {word}".strip()
            if word is not None and draw.textlength(longer, font=font) <= width:
                line = longer
                continue
            draw.text((x, y), line, font=font, fill=INK)
            y += LINE_HEIGHT
            line = word or ""
        y += LINE_HEIGHT // 2
    return y


def _figure(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    """A bar chart with its caption inside ``box`` (left, top, right, bottom)."""
    left, top, right, bottom = box
    draw.rectangle(box, outline=GRAY)
    bar = (right - left) // 11
    for i, part in enumerate((0.2, 0.3, 0.45, 0.7, 0.95)):
        x = left + bar * (2 * i + 1)
        draw.rectangle((x, bottom - 8 - int(part * (bottom - top - 24)), x + bar, bottom - 8), fill=ACCENT)
    draw.text((left, bottom + 10), CAPTION, font=ImageFont.load_default(15), fill=GRAY)


if __name__ == "__main__":
    render_page().save(Path(__file__).parent / "images" / "page.png", optimize=True)
