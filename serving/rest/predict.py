"""``POST /v1/models/{name}:predict``: encoded images in, JSON or an overlay out."""

from __future__ import annotations

from functools import partial
from typing import Any

from pipelines.draw import draw
from pipelines.errors import InvalidRequestError
from pipelines.image import ImageLimits
from pipelines.present import encode_png, to_json
from serving.dataplane import Answer, PredictCall
from serving.many import predict_all
from serving.oip.requests import read_version
from serving.rest.errors import MediaTypeError, NotAcceptableError
from serving.rest.multipart import read_form
from serving.rest.negotiate import choose_media_type
from serving.rest.parts import Ask
from serving.rest.query import OPTIONS, TIMEOUT, read_fields, read_options
from serving.rest.reply import BINARY, JSON, PNG, Reply, to_bytes
from serving.served import ServedModel

FORM = "multipart/form-data"
IMAGE_PART = "image"
OFFERED = (JSON, PNG)


async def predict(ask: Ask) -> Reply:
    """Run a model on the images of the body."""
    catalog, name, version = ask.parts.oip.catalog, ask.path["name"], read_version(ask.path.get("version", ""))
    catalog.find(name, version)  # what cannot be answered is refused before its body is read
    wanted = choose_media_type(ask.headers.get("accept", ""), OFFERED)
    if wanted is None:
        raise NotAcceptableError(f"accept must allow {' or '.join(OFFERED)}, got {ask.headers['accept'][:64]!r}")
    content_type = ask.headers.get("content-type", BINARY)
    _check_type(content_type)
    body = await ask.read()
    images, fields = [body], dict(ask.query)
    if _kind_of(content_type) == FORM:
        form = await ask.parts.pixels.run(partial(read_form, body, content_type, file_name=IMAGE_PART))
        images = list(form.files)
        fields = read_fields([*ask.query.items(), *form.fields], (*OPTIONS, TIMEOUT))
        if TIMEOUT in dict(form.fields):
            raise InvalidRequestError(f"{TIMEOUT} must be in the query: it counts from before the body is read")
    served = catalog.find(name, version)  # now: a reload may have come while the body did
    return await _answer(ask, served, images, fields, wanted)


async def _answer(ask: Ask, served: ServedModel, images: list[bytes], fields: dict[str, str], wanted: str) -> Reply:
    most = ask.parts.oip.inference.max_images
    if not 1 <= len(images) <= most:
        raise InvalidRequestError(f"a form must have 1 to {most} parts named {IMAGE_PART!r}, got {len(images)}")
    if wanted == PNG and len(images) > 1:
        raise InvalidRequestError(f"an overlay must be of one image, got {len(images)}: accept {JSON} for several")
    options = read_options(fields)
    calls = [
        PredictCall(
            model=served.name,
            version=served.version,
            image=image,
            options=options,
            deadline=ask.deadline,
            client=ask.client,
        )
        for image in images
    ]
    if wanted == PNG:
        overlay = partial(_overlay, data=images[0], served=served, limits=ask.parts.limits)
        return Reply(await predict_all(ask.parts.plane, served, calls, overlay), PNG, headers=(("vary", "accept"),))
    found = await predict_all(ask.parts.plane, served, calls, _prediction)
    head = to_bytes({"model": served.name, "version": served.version})[:-1]
    body = b'%b,"predictions":[%b]}' % (head, b",".join(found))
    return Reply((body,), JSON, headers=(("vary", "accept"),))


def _prediction(answer: Answer) -> bytes:
    """One image's answer as JSON."""
    height, width = answer.image_hw
    found: dict[str, Any] = {"image": {"width": width, "height": height}, "result": to_json(answer.result)}
    return to_bytes(found)


def _overlay(answer: Answer, *, data: bytes, served: ServedModel, limits: ImageLimits) -> bytes:
    """The image with its result drawn on it, as PNG; decoding anew costs less than keeping every image for the few."""
    return encode_png(draw(served.pipeline.decode(data, limits), answer.result))


def _check_type(content_type: str) -> None:
    kind = _kind_of(content_type)
    if not (kind.startswith("image/") or kind in (BINARY, FORM)):
        raise MediaTypeError(
            f"content-type must be image/*, {BINARY} or {FORM}, got {kind[:64]!r}: curl sends the first with "
            "-H 'content-type: image/jpeg' --data-binary @FILE, the last with -F image=@FILE"
        )


def _kind_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
