import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import ocella
from export.zoo import RECIPES
from pipelines.errors import ImageDecodeError, InvalidRequestError
from pipelines.types import Embedding

ROOT = Path(ocella.__file__).parent
HEAVY = {"cv2", "google", "grpc", "numpy", "onnx", "onnxruntime", "pydantic", "rich", "torch", "torchvision"}
NOT_IN_SERVING = {"onnx", "onnxscript", "torch", "torchvision"}
NOT_IN_PIPELINES = {"asyncio.events", "grpc", "onnx", "onnxscript", "torch", "torchvision"}
NOT_IN_FOREIGN_EXPORT = {"grpc", "torch", "torchvision"}


def modules_loaded_by(*words: str) -> set[str]:
    """Run ``ocella`` in a process of its own and return the names of all modules that it loaded."""
    code = (
        f"import sys, ocella; code = ocella.main({list(words)!r}); print('\\nmodules:', *sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.rsplit("modules:", 1)[1].split())


def test_help_lists_every_command_with_its_line(capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, (_, _, line) in ocella.COMMANDS.items():
        assert f"  {name} " in out
        assert line in out


def test_help_imports_nothing_heavy():
    assert modules_loaded_by("--help") & HEAVY == set()


@pytest.mark.parametrize(
    ("command", "never"),
    [
        *((name, NOT_IN_SERVING) for name in ("serve", "models", "health", "predict")),
        *((name, NOT_IN_PIPELINES) for name in ("verify", "golden")),
        *((name, NOT_IN_FOREIGN_EXPORT) for name in ("import", "zoo")),
    ],
)
def test_a_commands_help_imports_only_its_own_side(command: str, never: set[str]):
    assert modules_loaded_by(command, "--help") & never == set()


def example_of(command: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The command lines that a command's help shows, as a shell would read them from a terminal."""
    assert ocella.main([command, "--help"]) == 0
    pasted = capsys.readouterr().out.split("Example:")[1].replace("\\\n", " ")
    return [shlex.split(line) for line in pasted.splitlines() if line.strip(" │╰─╯")]


@pytest.mark.parametrize("command", sorted(set(ocella.COMMANDS) - {"faces", "zoo"}))
def test_each_commands_help_ends_with_an_example_to_paste(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "60")  # narrower than most examples
    *before, last = example_of(command, capsys)
    assert last[:2] == ["ocella", command]
    assert all(line[0] == "ocella" or "=" in line[0] for line in before)


def test_the_help_of_faces_shows_an_example(capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["faces", "--help"]) == 0
    assert "Example: ocella faces list" in capsys.readouterr().out


def test_the_zoos_help_shows_an_example(capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["zoo", "--help"]) == 0
    assert "Example: ocella zoo list" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["golden", "import", "predict", "verify"])
def test_an_example_uses_files_that_a_checkout_or_a_pull_has(command: str, capsys: pytest.CaptureFixture[str]):
    lines = [" ".join(line) for line in example_of(command, capsys)]
    photos = {word for line in lines for word in line.split() if word.startswith("examples/")}
    assert [photo for photo in photos if not (ROOT / photo).is_file()] == []
    pulled = re.findall(r"~/.cache/ocella/models/([a-z0-9-]+)", "\n".join(lines))
    assert pulled != []
    assert set(pulled) <= set(RECIPES)


@pytest.mark.parametrize(
    ("words", "shown"),
    [(["help"], "usage: ocella"), (["help", "verify"], "Usage: ocella verify")],
    ids=["help", "help-verify"],
)
def test_help_is_a_command_too(words: list[str], shown: str, capsys: pytest.CaptureFixture[str]):
    assert ocella.main(words) == 0
    assert shown in capsys.readouterr().out


def test_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["--version"]) == 0
    assert f'version = "{capsys.readouterr().out.strip()}"' in (ROOT / "pyproject.toml").read_text()


def test_no_command_is_a_usage_error_that_shows_the_help(capsys: pytest.CaptureFixture[str]):
    assert ocella.main([]) == 2
    assert "usage: ocella" in capsys.readouterr().out


def test_unknown_command_is_a_usage_error_that_names_the_nearest(capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["predcit"]) == 2
    assert capsys.readouterr().err == "error: no command 'predcit', did you mean 'predict'\n"


def test_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["verify", "--no-such-option"]) == 2
    assert "--no-such-option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (
            InvalidRequestError("top_k must be\nbetween 1 and 5, got 6"),
            1,
            "error: top_k must be between 1 and 5, got 6\n",
        ),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "error: /x/y: Permission denied\n"),
        (OSError("disk trouble"), 1, "error: disk trouble\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=["ours", "os-with-file", "os-without", "ctrl-c"],
)
def test_a_failed_command_says_one_line_and_no_traceback(
    raised: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(ocella, "open_predictor", fail)
    assert ocella.main(["predict", "package", "image.png"]) == code
    assert capsys.readouterr().err == said


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(ocella, "open_predictor", fail)
    with pytest.raises(KeyError):
        ocella.main(["predict", "package", "image.png"])


def test_a_closed_pipe_is_quiet():
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "ocella", "--help"], cwd=ROOT, stdout=write_end, stderr=subprocess.PIPE
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_stream_stops_no_command(closed: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, closed, None)  # what Python makes of `>&-`
    assert ocella.main(["zoo", "list"]) == 0
    getattr(sys, closed).close()


def test_an_error_does_not_go_to_the_output_where_stderr_is_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "stderr", None)
    assert ocella.main(["predcit"]) == 2
    sys.stderr.close()
    assert capsys.readouterr().out == ""


# --- predict ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def length_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the model: an image's embedding is its length in bytes; bytes ``bad`` do not decode."""

    def answer(data: bytes) -> Embedding:
        if data == b"bad":
            raise ImageDecodeError("the bytes are no image")
        return Embedding(np.array([len(data)], np.float32))

    @contextmanager
    def open_predictor(*_: object, **__: object) -> Iterator[ocella.Predictor]:
        yield ocella.Predictor(answer, decode=lambda _: np.zeros((4, 6, 3), np.uint8))

    monkeypatch.setattr(ocella, "open_predictor", open_predictor)


def write_images(folder: Path, **contents: bytes) -> list[str]:
    paths = [folder / f"{name}.png" for name in contents]
    for path, data in zip(paths, contents.values(), strict=True):
        path.write_bytes(data)
    return [str(path) for path in paths]


@pytest.mark.usefixtures("length_predictor")
def test_a_bad_image_is_named_and_the_others_are_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first, bad, last = write_images(tmp_path, first=b"1", bad=b"bad", last=b"333")
    missing = str(tmp_path / "missing.png")
    assert ocella.main(["predict", "model", first, bad, missing, last]) == 1
    out, err = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()] == [first, last]
    assert err == f"error: {bad}: the bytes are no image\nerror: {missing}: No such file or directory\n"


@pytest.mark.usefixtures("length_predictor")
def test_a_name_that_the_output_cannot_hold_is_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_images(Path(), ünï=b"1")
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    assert ocella.main(["predict", "model", "ünï.png"]) == 0
    assert ascii_only.buffer.getvalue().startswith(rb"\xfcn\xef.png: ")


@pytest.mark.usefixtures("length_predictor")
def test_an_image_that_may_not_be_read_is_named_and_the_others_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    locked, last = write_images(tmp_path, locked=b"1", last=b"333")

    def read_unless_locked(path: Path) -> bytes:
        if str(path) == locked:
            raise PermissionError(13, "Permission denied", locked)
        return path.read_bytes()

    monkeypatch.setattr("pipelines.image_file.read_image_file", read_unless_locked)  # file modes do not stop root
    monkeypatch.setattr(os, "access", lambda path, *_, **__: str(path) != locked)
    assert ocella.main(["predict", "model", locked, last]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{last}: ")
    assert err == f"error: {locked}: Permission denied\n"


@pytest.mark.usefixtures("length_predictor")
def test_json_is_one_document_with_a_row_for_each_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first, bad = write_images(tmp_path, first=b"1", bad=b"bad")
    assert ocella.main(["predict", "model", first, bad, "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert rows == [
        {"image": first, "overlay": None, "result": {"task": "embedding", "vector": [1.0]}},
        {"image": bad, "error": "the bytes are no image"},
    ]


@pytest.mark.usefixtures("length_predictor")
def test_draw_writes_an_overlay_of_the_images_size_into_a_new_folder(tmp_path: Path):
    from PIL import Image

    (image,) = write_images(tmp_path, image=b"1")
    assert ocella.main(["predict", "model", image, "--draw", str(tmp_path / "new" / "out")]) == 0
    with Image.open(io.BytesIO((tmp_path / "new" / "out" / "image.png").read_bytes())) as overlay:
        assert overlay.size == (6, 4)


@pytest.mark.usefixtures("length_predictor")
def test_an_overlay_that_cannot_be_written_costs_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (image,) = write_images(tmp_path, image=b"1")
    overlay = tmp_path / "out" / "image.png"
    overlay.mkdir(parents=True)
    assert ocella.main(["predict", "model", image, "--draw", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{image}: ")
    assert err == f"error: {image}: overlay {overlay}: Is a directory\n"
    assert ocella.main(["predict", "model", image, "--draw", str(tmp_path / "out"), "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row["result"] == {"task": "embedding", "vector": [1.0]}
    assert (row["overlay"], row["error"]) == (None, f"overlay {overlay}: Is a directory")


def test_a_file_as_folder_of_overlays_is_a_usage_error(tmp_path: Path):
    (image,) = write_images(tmp_path, image=b"1")
    assert ocella.main(["predict", "model", image, "--draw", image]) == 2


@pytest.mark.usefixtures("length_predictor")
def test_a_folder_of_overlays_that_cannot_be_made_ends_the_call_before_any_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (image,) = write_images(tmp_path, image=b"1")
    assert ocella.main(["predict", "model", image, "--draw", f"{image}/out"]) == 1
    assert capsys.readouterr() == ("", f"error: {image}/out: Not a directory\n")


def test_an_option_out_of_range_is_one_error_before_any_image(capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["predict", "model", "image.png", "--score-threshold", "1.5"]) == 1
    assert capsys.readouterr().err == "error: score_threshold must be between 0 and 1, got 1.5\n"


@pytest.mark.usefixtures("length_predictor")
def test_no_more_than_the_limit_and_a_byte_is_read_of_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (image,) = write_images(tmp_path, image=bytes(1000))
    # /dev/zero has no end: reading all of it would not return.
    assert ocella.main(["predict", "model", "/dev/zero", image]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{image}: ")
    assert err == "error: /dev/zero: image has more than 67,108,864 bytes, the limit\n"


@pytest.mark.parametrize(
    "address", ["", "localhost", ":8001", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", "::1:8001", "http://a:8001"]
)
@pytest.mark.usefixtures("length_predictor")
def test_an_address_that_is_not_host_and_port_is_a_usage_error(address: str, capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["predict", "--server", address, "model", "image.png"]) == 2
    assert "HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:8001", "vision.example:443", "[::1]:65535"])
def test_an_address_is_taken_as_it_stands(address: str):
    assert ocella.server_address(address) == address


def test_overlays_are_named_after_their_images():
    images = [Path("a/cat.jpg"), Path("a/dog.png")]
    assert ocella.overlay_paths(images, Path("out")) == [Path("out/cat.png"), Path("out/dog.png")]


def test_overlays_of_equal_stems_do_not_overwrite_each_other():
    images = [Path("a/cat.jpg"), Path("b/cat.jpg"), Path("a/cat-2.jpg"), Path("c/cat.png")]
    names = [path.name for path in ocella.overlay_paths(images, Path("out"))]
    assert names == ["cat.png", "cat-2.png", "cat-2-2.png", "cat-3.png"]


def test_overlays_never_overwrite_an_image_that_was_asked_about():
    assert ocella.overlay_paths([Path("out/cat.png")], Path("out")) == [Path("out/cat-2.png")]
