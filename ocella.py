"""The ``ocella`` command: joins the commands of the packages, each imported only when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import inspect
import io
import json
import os
import re
import sys
import textwrap
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.errors import OcellaError, RecipeError

if TYPE_CHECKING:
    from export.foreign.triton_config import TritonConfig
    from pipelines.manifest import Manifest
    from pipelines.options import PredictOptions
    from pipelines.tile_options import TileOptions
    from pipelines.types import ByteArray, Result

# command: (module, attribute, one line); the attribute is a function or a typer app of sub-commands.
COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "train": ("export.training.cli", "train", "train a model: a recipe by name, or a config of your own"),
    "export": ("export.export_cli", "export_command", "export a torch model through the gate into a package"),
    "import": ("export.import_cli", "import_model_command", "make a package from an ONNX file of your own"),
    "zoo": ("export.cli", "zoo_app", "list and pull real pretrained models"),
    "cascade": ("export.cascade_cli", "cascade", "join a detector and a second package to one"),
    "verify": ("pipelines.cli", "verify", "check a package: checksums, seal, graph, golden samples"),
    "golden": ("pipelines.cli", "golden", "show what changed in a recipe and record its golden samples anew"),
    "evaluate": (
        "export.evaluate.cli",
        "evaluate_command",
        "measure a package, or a model on a server, on labelled data",
    ),
    "predict": ("ocella", "predict", "run a package, or a model on a server, on images"),
    "batch": ("serving.batch.cli", "batch", "run a model on many images, each exactly once"),
    "serve": ("serving.cli", "serve", "serve packages over gRPC and HTTP"),
    "bench": ("serving.bench.cli", "bench", "load a server, or a package on one of its own, and measure"),
    "tune": ("serving.tune.cli", "tune", "search the deploy.toml that answers most within a latency"),
    "faces": ("serving.faces_cli", "faces_app", "enrol people once, verify 1:1, identify 1:K, calibrate"),
    "token": ("serving.security.cli", "token", "make a token for a server that asks who calls"),
    "models": ("serving.ask_cli", "models", "list what a server serves"),
    "health": ("serving.ask_cli", "health", "exit with 0 when a server, or one of its models, is ready"),
    "doctor": ("serving.doctor.cli", "doctor", "say what this environment is, and what to fix before it serves"),
}
INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 success, 1 it failed (one line on stderr says why), 2 usage."""
    _let_streams_take_all()
    try:
        code = _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader went away (`ocella models | head -1`): nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except OcellaError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return code


def _let_streams_take_all() -> None:
    """A closed stream swallows what is printed, and one of few characters prints the others escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller: `ocella zoo list >&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115, open as long as we run
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"]:  # as git has it: `ocella help`, `ocella help predict`
        words = [*words[1:2], "--help"]
    if not words or words[0] in ("--help", "-h"):
        print(_help())
        return 0 if words else 2
    name, *rest = words
    if name == "--version":
        print(version("ocella"))
        return 0
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}" if close else "`ocella --help` lists the commands"
        return _fail(f"no command {name!r}, {hint}", code=2)
    module, attribute, _ = COMMANDS[name]
    return _run(getattr(importlib.import_module(module), attribute), prog_name=f"ocella {name}", words=rest)


def _run(target: Callable[..., object] | typer.Typer, *, prog_name: str, words: list[str]) -> int:
    """Parse ``words`` for a function or a typer app, run it, and return its exit code."""
    if isinstance(target, typer.Typer):
        app = target
    else:
        app = typer.Typer(add_completion=False)
        app.command(cls=_ExampleCommand, help=_text_and_example(target)[0])(target)
    try:
        typer.main.get_command(app).main(args=words, prog_name=prog_name, obj=Models())
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return 0


class _ExampleCommand(typer.core.TyperCommand):
    """A command whose help ends with the example of its docstring as it stands: rich would wrap and pad its lines."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        print(f"Example:\n{textwrap.indent(_text_and_example(self.callback)[1], '    ')}\n")


def _text_and_example(command: Callable[..., object] | None) -> tuple[str, str]:
    """The docstring of a command before and after its ``Example:``."""
    text, _, example = (inspect.getdoc(command) or "").partition("\n\nExample:")
    return text, textwrap.dedent(example).strip()


def _help() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {line}" for name, (_, _, line) in COMMANDS.items()]
    hint = "`ocella COMMAND --help` explains one, with an example. `ocella --version` prints the version."
    return "\n".join(["usage: ocella COMMAND ...", "", *rows, "", hint])


def _fail(message: str, *, code: int = 1) -> int:
    print("error:", " ".join(message.split()), file=sys.stderr)
    return code


# --- predict: the one command that joins the offline path and the client --------------------------------------------


@dataclass(frozen=True)
class Predictor:
    """One model that answers for encoded images; ``decode`` gives the pixels that its results refer to."""

    answer: Callable[[bytes], Result]
    decode: Callable[[bytes], ByteArray]


def server_address(text: str | None) -> str | None:
    """Take ``host:port``, an IPv6 host in brackets; gRPC would make an address of anything, port 99999 too."""
    if text is None:
        return None
    parts = re.fullmatch(r"(?:\[[0-9a-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})", text, re.IGNORECASE)
    if parts is None or not 1 <= int(parts[1]) <= 65_535:
        raise typer.BadParameter(f"must be HOST:PORT with a port from 1 to 65535, got {text!r}")
    return text


def predict(
    model: Annotated[str, typer.Argument(metavar="PACKAGE|MODEL", help="Package folder; with --server, a model name.")],
    images: Annotated[  # readable=False: that one cannot be read is its own error, not the call's
        list[Path], typer.Argument(metavar="IMAGE...", readable=False, help="Image files.")
    ],
    server: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", callback=server_address, help="Ask this server, not a package."),
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Write an overlay PNG of each image here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    score_threshold: Annotated[float | None, typer.Option(help="Least score of a detection, label or pixel.")] = None,
    iou_threshold: Annotated[float | None, typer.Option(help="IoU above which a detection is suppressed.")] = None,
    max_detections: Annotated[int | None, typer.Option(help="Most detections of an image.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Most classes of an image.")] = None,
    tiles: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE[:OVERLAP]", help="Answer in tiles of SIZE pixels that share OVERLAP, 0.2 unless given."
        ),
    ] = None,
) -> None:
    r"""Run a package, or a model on a server, on images.

    Example:
        ocella predict ~/.cache/ocella/models/centerface \
            examples/images/astronaut.png --draw out
    """
    from pipelines.options import PredictOptions

    options = PredictOptions(
        score_threshold=score_threshold, iou_threshold=iou_threshold, max_detections=max_detections, top_k=top_k
    )
    if draw:
        draw.mkdir(parents=True, exist_ok=True)  # before any work: a folder that cannot be is no image's fault
    asked = None if tiles is None else tile_options(tiles)
    with open_predictor(model, server=server, options=options, tiles=asked) as predictor:
        rows = list(_answer_each(predictor, images, draw=draw, quiet=as_json))
    if as_json:
        print(json.dumps(rows, indent=2))
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def tile_options(text: str) -> TileOptions:
    """Read ``SIZE`` or ``SIZE:OVERLAP``, such as ``640:0.25``."""
    from pipelines.tile_options import DEFAULT_TILES, TileOptions

    parts = re.fullmatch(r"([0-9]{1,9})(?::([0-9]*\.?[0-9]+))?", text)
    if parts is None:
        raise typer.BadParameter(f"must be SIZE or SIZE:OVERLAP, such as 640:0.25, got {text!r}", param_hint="--tiles")
    try:
        return TileOptions(size=int(parts[1]), overlap=float(parts[2]) if parts[2] else DEFAULT_TILES.overlap)
    except OcellaError as error:
        raise typer.BadParameter(str(error), param_hint="--tiles") from error


def open_predictor(
    model: str, *, server: str | None, options: PredictOptions, tiles: TileOptions | None = None
) -> AbstractContextManager[Predictor]:
    """Open a package folder, or a model on ``server``, with options that are known to apply to it.

    With ``tiles`` it answers each image in tiles, merged.
    """
    return _offline(Path(model), options, tiles) if server is None else _remote(model, server, options, tiles)


class Models:
    """Packages in folders and models on servers, for the commands that may import neither side's other half."""

    def manifest(self, model: str, *, server: str | None) -> Manifest:
        """The manifest of a package folder, or of a ready model on ``server``."""
        from pipelines.loader import find_package
        from pipelines.manifest import parse_manifest, read_manifest

        if server is None:
            return read_manifest(find_package(Path(model)))
        from serving.client import VisionClient
        from serving.client.environment import credentials_from_environment

        with VisionClient(server, **credentials_from_environment()) as client:
            described = client.describe_model(model)
            return parse_manifest(json.loads(described.manifest_json), where=f"{model} on {server}")

    def open(self, model: str, *, server: str | None, options: PredictOptions) -> AbstractContextManager[Predictor]:
        """Open it with options that are known to apply to it."""
        return open_predictor(model, server=server, options=options)

    def triton_config(self, path: Path) -> TritonConfig:
        """A Triton ``config.pbtxt`` as values; raises RecipeError where the file is none."""
        from export.foreign.triton_config import MAX_CONFIG_BYTES, config_from
        from protos.oip.config_text import ConfigTextError, parse_config

        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        if len(data) > MAX_CONFIG_BYTES:
            raise RecipeError(f"{path} must be at most {MAX_CONFIG_BYTES:,} bytes")
        try:
            found = parse_config(data.decode("utf-8"))
        except (ConfigTextError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path} is no config.pbtxt: {error}") from error
        return config_from(found.config, unknown=found.unknown)


@contextmanager
def _offline(package: Path, options: PredictOptions, tiles: TileOptions | None) -> Iterator[Predictor]:
    from pipelines.image import ImageLimits
    from pipelines.loader import load_package
    from pipelines.tasks import predict as predict_images
    from pipelines.tiles import Tiling, predict_tiles

    with load_package(package) as loaded:
        pipeline = loaded.pipeline
        pipeline.check(options)
        if tiles is not None:
            Tiling(pipeline, tiles, options)  # refused before any image is read

        def decode(data: bytes) -> ByteArray:
            return pipeline.decode(data, ImageLimits())

        def answer(data: bytes) -> Result:
            if tiles is not None:
                return predict_tiles(pipeline, loaded.session, decode(data), tiles, options).merged
            return predict_images(pipeline, loaded.session, [decode(data)], options)[0]

        yield Predictor(answer, decode)


@contextmanager
def _remote(model: str, server: str, options: PredictOptions, tiles: TileOptions | None) -> Iterator[Predictor]:
    from pipelines.image import decode_image
    from pipelines.manifest import parse_manifest
    from serving.client import VisionClient
    from serving.client.environment import credentials_from_environment

    with VisionClient(server, **credentials_from_environment()) as client:
        described = client.describe_model(model)
        manifest = parse_manifest(json.loads(described.manifest_json), where=f"{model} on {server}")
        options.check_for(manifest.head.task)
        if tiles is not None:
            tiles.check_for(manifest.head.task)
        chosen = asdict(options)

        def decode(data: bytes) -> ByteArray:
            return decode_image(data, exif=manifest.image.exif, alpha=manifest.image.alpha)

        def answer(data: bytes) -> Result:
            if tiles is not None:
                answers = client.predict_tiles(model, data, tiles, version=described.version, **chosen)
                return deque(answers, maxlen=1)[0].result  # the merged one comes last
            return client.predict(model, data, version=described.version, **chosen).result

        yield Predictor(answer, decode)


def _answer_each(
    predictor: Predictor, images: Sequence[Path], *, draw: Path | None, quiet: bool
) -> Iterator[dict[str, Any]]:
    """Answer image by image; one that fails is named on stderr and the others go on, as where an overlay fails."""
    from pipelines.image_file import read_image_file
    from pipelines.present import summary, to_json

    overlays = overlay_paths(images, draw) if draw else [None] * len(images)
    for image, overlay in zip(images, overlays, strict=True):
        try:
            data = read_image_file(image)
            result = predictor.answer(data)
        except (OcellaError, OSError) as error:
            _fail(f"{image}: {_reason(error)}")
            yield {"image": str(image), "error": _reason(error)}
            continue
        if not quiet:
            print(f"{image}: {summary(result)}")
        row = {"image": str(image), "overlay": overlay and str(overlay), "result": to_json(result)}
        try:
            if overlay:
                _write_overlay(predictor.decode(data), result, overlay)
        except (OcellaError, OSError) as error:
            row |= {"overlay": None, "error": f"overlay {overlay}: {_reason(error)}"}
            _fail(f"{image}: {row['error']}")
        yield row


def _reason(error: OcellaError | OSError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def overlay_paths(images: Iterable[Path], folder: Path) -> list[Path]:
    """Name ``folder/<stem>.png`` for each image; a counter keeps equal stems and the images themselves apart."""
    images = list(images)
    taken = {image.resolve() for image in images}
    paths = []
    for image in images:
        names = (f"{image.stem}{suffix}.png" for suffix in ["", *(f"-{i}" for i in range(2, len(images) * 2 + 2))])
        path = next(path for path in map(folder.joinpath, names) if path.resolve() not in taken)
        taken.add(path.resolve())
        paths.append(path)
    return paths


def _write_overlay(image: ByteArray, result: Result, path: Path) -> None:
    from pipelines.draw import draw
    from pipelines.present import encode_png

    path.write_bytes(encode_png(draw(image, result)))


if __name__ == "__main__":
    sys.exit(main())
