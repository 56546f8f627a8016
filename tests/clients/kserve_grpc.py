"""What KServe's own gRPC client asks of a server, as one JSON document: run with its own Python.

Usage: kserve_grpc.py HOST:PORT IMAGE...
"""

import asyncio
import json
import sys
from pathlib import Path

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


def request(model, *inputs):
    return InferRequest(model_name=model, infer_inputs=list(inputs), request_id="k")


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


async def code_of(call):
    try:
        await call
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


async def main(address, paths):
    pixels = np.linspace(-1, 1, 3 * 96 * 128, dtype=np.float32).reshape(1, 3, 96, 128)
    files = [Path(path).read_bytes() for path in paths]
    pictures = InferInput("image", [len(files)], "BYTES", data=files)
    async with InferenceGRPCClient(address, retries=0) as client:
        report = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready("classes"),
            "raw": outputs(await client.infer(request("classes", numbers("image", pixels, "FP32", raw=True)))),
            "typed": outputs(await client.infer(request("classes", numbers("image", pixels, "FP32", raw=False)))),
            "images": outputs(await client.infer(request("vectors", pictures))),
            "unknown": await code_of(client.infer(request("no", pictures))),
            "wrong": await code_of(
                client.infer(request("classes", numbers("image", pixels.astype(np.int32), "INT32", raw=True)))
            ),
        }
    sys.stdout.write(json.dumps(report))


asyncio.run(main(sys.argv[1], sys.argv[2:]))
