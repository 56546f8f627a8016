"""What KServe's own REST client asks of a server, as one JSON document: run with its own Python.

Usage: kserve_http.py http://HOST:PORT IMAGE...
"""

import asyncio
import base64
import json
import sys
from pathlib import Path

import httpx
import numpy as np
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceRESTClient, RESTConfig


def request(model, *inputs, **over):
    return InferRequest(model_name=model, infer_inputs=list(inputs), request_id="k", **over)


def numbers(name, array, datatype, *, raw):
    given = InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=raw)
    return given


def outputs(response):
    return {
        each.name: {"datatype": each.datatype, "shape": list(each.shape), "values": each.as_numpy().tolist()}
        for each in response.outputs
        if each.datatype != "BYTES"
    }


async def status_of(call):
    try:
        await call
    except httpx.HTTPStatusError as error:
        return [error.response.status_code, str(error)]
    return [200, ""]


async def main(base, paths):
    pixels = np.linspace(-1, 1, 3 * 96 * 128, dtype=np.float32).reshape(1, 3, 96, 128)
    files = [Path(path).read_bytes() for path in paths]
    pictures = InferInput("image", [len(files)], "BYTES", data=[base64.b64encode(each).decode() for each in files])
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))

    async def infer(asked):
        return await client.infer(base, asked, model_name=asked.model_name)

    report = {
        "live": await client.is_server_live(base),
        "ready": await client.is_server_ready(base),
        "model_ready": await client.is_model_ready(base, "classes"),
        "raw": outputs(await infer(request("classes", numbers("image", pixels, "FP32", raw=True)))),
        "json": outputs(await infer(request("classes", numbers("image", pixels, "FP32", raw=False)))),
        "images": outputs(await infer(request("vectors", pictures))),
        "unknown": await status_of(infer(request("no", pictures))),
        "wrong": await status_of(
            infer(request("classes", numbers("image", pixels.astype(np.int32), "INT32", raw=True)))
        ),
    }
    await client.close()
    sys.stdout.write(json.dumps(report))


asyncio.run(main(sys.argv[1], sys.argv[2:]))
