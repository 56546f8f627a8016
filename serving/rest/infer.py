"""``POST /v2/models/{name}/infer``: tensors for the graph, or encoded images for the pipeline."""

from __future__ import annotations

from functools import partial

from serving.oip.requests import read_version
from serving.rest.infer_read import HEADER_LENGTH, read_infer
from serving.rest.infer_write import is_large, write_infer
from serving.rest.parts import Ask
from serving.rest.reply import OFF_LOOP_FROM, Reply


async def infer(ask: Ask) -> Reply:
    """Run the graph on tensors, or the pipeline on encoded images."""
    parts, name, version = ask.parts.oip, ask.path["name"], ask.path.get("version", "")
    parts.catalog.find(name, read_version(version))  # before the body, which may be long
    header_length = ask.headers.get(HEADER_LENGTH, "")
    body = await ask.read()
    read = partial(read_infer, max_elements=parts.max_elements)
    json_length = int(header_length[:18]) if header_length.isdecimal() else len(body)
    if json_length > OFF_LOOP_FROM:
        request, binary = await ask.parts.pixels.run(read, body, header_length, name, version, parts.memory)
    else:
        request, binary = read(body, header_length, name, version, parts.memory)
    result = await parts.inference.infer(request, deadline=ask.deadline, client=ask.client)
    if is_large(result, binary):
        return await ask.parts.pixels.run(write_infer, result, request, binary, parts.memory)
    return write_infer(result, request, binary, parts.memory)
