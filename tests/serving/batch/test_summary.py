"""What a run tells: the summary, its page, the contact sheet, progress, metrics."""

from __future__ import annotations

import io
import json
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from serving.batch.entry import Entry
from serving.batch.facts import FactCounts, facts_of
from serving.batch.outcome import Outcome, Row
from serving.batch.progress import line, shown
from serving.batch.sampling import MOST, stride, wants
from serving.batch.shard import WHOLE
from serving.batch.sources import Sources
from serving.batch.tally import Tally
from serving.batch.total import Total
from tests.serving.batch.jobs import FakeEngine, image_folder, rows, run, video_file


class Reader(HTMLParser):
    """The words of a page, and the tags that stay open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, _: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: object) -> None:
        self.words.append(f"<{tag}>")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = image_folder(tmp_path / "in", 20, bad=(3, 8), equal={6: 5})
    (folder / "<b>&.png").write_bytes(b"no image")
    run(tmp_path / "out", folder, textfile=tmp_path / "job.prom")
    return tmp_path / "out"


def test_the_summary_counts_what_the_data_files_hold(out: Path):
    summary = json.loads((out / "summary.json").read_text())
    found = [one for row in rows(out) for one in row["result"]["detections"]]
    labels = [one["label"] for one in found]
    assert (summary["images"], summary["ok"], summary["failed"]) == (21, len(rows(out)), 3)
    assert summary["classes"] == {
        label: labels.count(label) for label in sorted(set(labels), key=lambda name: (-labels.count(name), name))
    }
    assert summary["scores"] == [sum(min(9, int(one["score"] * 10)) == decile for one in found) for decile in range(10)]
    assert summary["reasons"] == {"ImageDecodeError": 3}
    assert [one["source"] for one in summary["failures"]] == [row["source"] for row in rows(out, "errors.jsonl")]
    assert (summary["complete"], summary["problem"], summary["computed"]) == (True, None, 20)
    assert "results.jsonl" in summary["outputs"]


def test_the_page_is_whole_and_shows_names_as_text(out: Path):
    page = Reader((out / "summary.html").read_text())
    text = " ".join(page.words)
    assert page.open == []
    assert "complete" in page.words
    for heading in ("Counts by class", "Scores", "Failed images (3)", "Slowest images", "Contact sheet"):
        assert heading in text
    assert any(word.endswith("<b>&.png") for word in page.words)


def test_the_contact_sheet_has_a_cell_for_each_result(out: Path):
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.size == (6 * 248 + 8, 3 * 206 + 8)  # 18 results, six in a row of 180 x 240 and a name


def test_a_job_that_stopped_says_so_in_its_summary_and_metrics(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 5, bad=(0,))
    run(tmp_path / "out", folder, max_errors=0, textfile=tmp_path / "job.prom")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["complete"], summary["failures"][0]["reason"]) == (False, "ImageDecodeError")
    assert "not complete" in (tmp_path / "out" / "summary.html").read_text()
    assert 'ocella_batch_complete{model="fake",shard="1/1"} 0.0' in (tmp_path / "job.prom").read_text()


def test_a_video_is_not_decoded_a_second_time_to_count_its_frames(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 3)
    words = (bytes(folder), bytes(video_file(tmp_path / "clip.avi", 4)))
    assert counted(words[:1]) == 3
    assert counted(words) is None


def counted(words: tuple[bytes, ...]) -> int | None:
    with Total(Sources(words), WHOLE) as total:
        total._thread.join()
        return total.rows


def test_the_image_that_was_one_too_many_is_named_however_many_failed_before_it(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 110, bad=tuple(range(110)))
    summary = run(tmp_path / "out", folder, max_errors=104)
    assert summary.problem.startswith(f"at most 104 images may fail, 105 did: {folder}/0104.png: ")


def test_the_metrics_are_read_by_prometheus(out: Path):
    families = {family.name: family for family in text_string_to_metric_families((out.parent / "job.prom").read_text())}
    images = {sample.labels["outcome"]: sample.value for sample in families["ocella_batch_images"].samples}
    assert images == {"ok": 18, "failed": 3}
    assert families["ocella_batch_complete"].samples[0].value == 1


@pytest.mark.parametrize("count", [1, 23, 24, 25, 48, 49, 1000, 5000])
def test_the_images_shown_are_few_evenly_spread_and_never_missed(count: int):
    shown_at_the_end = [i for i in range(count) if i % stride(count) == 0]
    assert all(wants(i) for i in shown_at_the_end)
    assert [i for i in range(count) if wants(i, count)] == shown_at_the_end
    assert min(count, MOST // 2) < len(shown_at_the_end) + 1 <= MOST + 1


def test_the_same_images_are_shown_whenever_the_length_of_the_job_became_known():
    unknown, late = Tally(), Tally()
    for i in range(100):
        for tally, total in ((unknown, None), (late, 100 if i > 10 else None)):
            small = b"small" if wants(i, total) else b""
            entry = Entry(name=b"%d" % i, relative=b"", stamp=b"", load=bytes)
            tally.add(Row(i, i, entry, Outcome(sha256=f"{i:064x}", facts_json="[]", thumbnail=small)))
    assert late.thumbnails() == unknown.thumbnails()
    assert [name for name, _ in late.thumbnails()] == [str(i) for i in range(0, 100, 8)]


def test_a_thumbnail_shows_the_drawn_result_small(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 1)
    run(tmp_path / "out", folder, engine=FakeEngine("segmentation"))
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.size == (256, 214)
        assert len(sheet.getcolors(100_000) or []) > 20


@pytest.mark.parametrize(
    ("result", "facts"),
    [
        ({"detections": [{"class_id": 2, "score": 0.55}]}, [("class 2", 5)]),
        ({"detections": [{"class_id": 2, "label": "cat", "score": 1.0}]}, [("cat", 9)]),
        ({"objects": [{"class_id": 0, "label": "face", "score": 0.0}]}, [("face", 0)]),
        ({"classes": [{"class_id": 1, "score": -3.5}, {"class_id": 2, "score": -4.0}]}, [("class 1", 0)]),
        ({"classes": [{"class_id": 0, "label": "sky", "pixels": 7}]}, [("sky", -1)]),
        ({"vector": [1.0]}, []),
    ],
)
def test_facts_are_counted_by_class_and_decile(result: dict[str, object], facts: list[tuple[str, int]]):
    assert facts_of(result) == facts
    counts = FactCounts()
    counts.add(facts)
    counts.add(facts)
    assert counts.by_class() == {label: 2 for label, _ in facts}
    assert sum(counts.by_score()) == 2 * sum(decile >= 0 for _, decile in facts)


# --- progress --------------------------------------------------------------------------------------------------------


class Watched(io.StringIO):
    """A stream that tells when something was written."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.written = threading.Event()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def tally_of(ok: int, failed: int) -> Tally:
    tally = Tally()
    tally.ok, tally.failed = ok, failed
    return tally


def test_a_line_has_images_errors_rate_and_time_left():
    assert (
        line(tally_of(1190, 10), 10_000, 12.0) == "1,200 of 10,000 images, 10 failed, 100.0 images/s, 1 min 28 s left"
    )
    assert line(tally_of(5, 0), None, 10.0) == "5 images, 0 failed, 0.5 images/s"
    assert line(tally_of(1, 0), 8000, 1.0) == "1 of 8,000 images, 0 failed, 1.0 images/s, 2 h 13 min left"


def test_plain_lines_are_written_where_there_is_no_terminal():
    stream = Watched(terminal=False)
    with Total([], WHOLE) as total, shown(tally_of(3, 1), total, stream, every_s=0.001):
        assert stream.written.wait(60)
    assert stream.getvalue().startswith("4")
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_has_a_bar():
    stream = Watched(terminal=True)
    with Total([], WHOLE) as total, shown(tally_of(3, 1), total, stream):
        assert stream.written.wait(60)
    assert "images/s" in stream.getvalue()
    assert "\x1b" in stream.getvalue()
