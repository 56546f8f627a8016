"""Everything that tritonclient.http can ask of a server, as one JSON document: run with its own Python.

Usage: triton_http.py HOST:PORT IMAGE...
"""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, shared_memory


def tensor(name, array, datatype=None, *, binary=True):
    given = triton.InferInput(name, list(array.shape), datatype or np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def plain(value):
    """An array as JSON values; bytes as latin-1 text."""
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode("latin-1") if isinstance(value, bytes) else value


def outputs(result):
    return {
        each["name"]: {
            "datatype": each["datatype"],
            "shape": each["shape"],
            "values": plain(result.as_numpy(each["name"])),
        }
        for each in result.get_response()["outputs"]
    }


def refusal(call):
    """Status and words of the error that a call ends with."""
    try:
        call()
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return ["200", ""]


def echo_inputs(rows=2, size=3):
    values = np.arange(rows * size).reshape(rows, size)
    return {
        "BOOL": values % 2 == 0,
        **{
            f"{kind}{bits}": values.astype(f"{kind.lower()}{bits}")
            for kind in ("UINT", "INT")
            for bits in (8, 16, 32, 64)
        },
        **{f"FP{bits}": (values / 8).astype(f"float{bits}") for bits in (16, 32, 64)},
        "BYTES": np.array([f"text {i} ä".encode() for i in values.ravel()], object).reshape(values.shape),
    }


def images(paths):
    data = np.empty(len(paths), object)
    data[:] = [Path(path).read_bytes() for path in paths]
    return data


async def asyncio_unary(address, inputs):
    async with triton_aio.InferenceServerClient(address) as client:
        many = await asyncio.gather(*[client.infer("echo", inputs, request_id=str(i)) for i in range(16)])
        return [each.get_response()["id"] for each in many]


def through_shared_memory(client, data):
    """Send one tensor and take one back through shared memory; the rest travels in the bodies."""
    size = data["FP32"].nbytes
    region = shared_memory.create_shared_memory_region("both", "/ocella_test_http", 2 * size)
    try:
        shared_memory.set_shared_memory_region(region, [data["FP32"]])
        client.register_system_shared_memory("both", "/ocella_test_http", 2 * size)
        status = client.get_system_shared_memory_status()
        given = [tensor(f"in_{name}", array) for name, array in data.items() if name != "FP32"]
        shared = triton.InferInput("in_FP32", list(data["FP32"].shape), "FP32")
        shared.set_shared_memory("both", size)
        wanted = triton.InferRequestedOutput("out_FP32")
        wanted.set_shared_memory("both", size, offset=size)
        beside = triton.InferRequestedOutput("out_INT8", binary_data=False)
        result = client.infer("echo", [*given, shared], outputs=[wanted, beside])
        back = shared_memory.get_contents_as_numpy(region, np.float32, list(data["FP32"].shape), offset=size)
        answer = {"status": status, "values": plain(back), "beside": plain(result.as_numpy("out_INT8"))}
        client.unregister_system_shared_memory("both")
        answer["status_after"] = client.get_system_shared_memory_status()
        return answer
    finally:
        shared_memory.destroy_shared_memory_region(region)


def main(address, paths):
    client = triton.InferenceServerClient(address, concurrency=4)
    arrays = echo_inputs()
    inputs = [tensor(f"in_{name}", array) for name, array in arrays.items()]
    # The client itself sends half floats as binary data only.
    in_json = [tensor(f"in_{name}", array, binary=name == "FP16") for name, array in arrays.items()]
    json_outputs = [triton.InferRequestedOutput(f"out_{name}", binary_data=False) for name in arrays]
    pictures = images(paths)
    report = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": [client.is_model_ready("echo"), client.is_model_ready("echo", "1"), client.is_model_ready("no")],
        "server": client.get_server_metadata(),
        "metadata": client.get_model_metadata("classes"),
        "config": client.get_model_config("classes"),
        "index": client.get_model_repository_index(),
        "sent": {name: plain(array) for name, array in arrays.items()},
        "echo": outputs(client.infer("echo", inputs, request_id="7", priority=1, timeout=30_000_000)),
        "echo json": outputs(client.infer("echo", in_json, outputs=json_outputs)),
        "asked": list(outputs(client.infer("echo", inputs, outputs=[triton.InferRequestedOutput("out_INT8")]))),
        "packed": {
            coding: outputs(
                client.infer(
                    "echo", inputs, request_compression_algorithm=coding, response_compression_algorithm=coding
                )
            )
            for coding in ("gzip", "deflate")
        },
        "best": plain(
            client.infer(
                "classes",
                [tensor("image", np.ones((2, 3, 96, 128), np.float32))],
                outputs=[triton.InferRequestedOutput("logits", class_count=3)],
            ).as_numpy("logits")
        ),
        "images": {
            model: outputs(client.infer(model, [tensor("image", pictures)]))
            for model in ("classes", "things", "masks", "vectors")
        },
        "options": outputs(client.infer("classes", [tensor("image", pictures)], parameters={"top_k": 2})),
        "async": outputs(client.async_infer("echo", inputs).get_result(timeout=60))["out_FP32"],
        "asyncio": asyncio.run(asyncio_unary(address, inputs)),
        "refused": {
            "unknown model": refusal(lambda: client.infer("no", inputs)),
            "unknown version": refusal(lambda: client.infer("echo", inputs, model_version="9")),
            "version that is no number": refusal(lambda: client.infer("echo", inputs, model_version="one")),
            "missing input": refusal(lambda: client.infer("echo", inputs[1:])),
            "unknown output": refusal(
                lambda: client.infer("echo", inputs, outputs=[triton.InferRequestedOutput("out")])
            ),
            "wrong dtype": refusal(
                lambda: client.infer("classes", [tensor("image", np.ones((1, 3, 96, 128), np.float64))])
            ),
            "wrong shape": refusal(
                lambda: client.infer("classes", [tensor("image", np.ones((1, 4, 96, 128), np.float32))])
            ),
            "not an image": refusal(lambda: client.infer("classes", [tensor("image", np.array([b"no"], object))])),
            "sequence": refusal(lambda: client.infer("echo", inputs, sequence_id=3)),
            "past deadline": refusal(lambda: client.infer("echo", inputs, timeout=1)),
            "past deadline of the query": refusal(
                lambda: client.infer("echo", inputs, query_params={"timeout": "0.000001"})
            ),
            "cuda": refusal(lambda: client.register_cuda_shared_memory("c", b"aGFuZGxl", 0, 64)),
            "config": refusal(lambda: client.load_model("echo", config="{}")),
            "load unknown": refusal(lambda: client.load_model("no")),
            "slash in a key": refusal(lambda: client.register_system_shared_memory("r", "../etc/passwd", 8)),
        },
        "trace": client.get_trace_settings(),
        "trace file": refusal(lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]})),
        "logs": client.get_log_settings(),
        "log file": refusal(lambda: client.update_log_settings({"log_file": "/tmp/x"})),
        "shared": through_shared_memory(client, arrays),
        "statistics": client.get_inference_statistics("classes"),
        "all statistics": client.get_inference_statistics(),
    }
    client.unload_model("vectors")
    report["after unload"] = client.is_model_ready("vectors")
    client.load_model("vectors")
    report["after load"] = client.is_model_ready("vectors")
    client.close()
    sys.stdout.write(json.dumps(report))


main(sys.argv[1], sys.argv[2:])
