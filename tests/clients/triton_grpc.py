"""Everything that tritonclient.grpc can ask of a server, as one JSON document: run with its own Python.

Usage: triton_grpc.py HOST:PORT IMAGE...
"""

import asyncio
import json
import queue
import sys
from functools import partial
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, shared_memory

TIMEOUT_S = 60


def tensor(name, array, datatype=None):
    given = triton.InferInput(name, list(array.shape), datatype or np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array)
    return given


def plain(value):
    """An array as JSON values; bytes as latin-1 text."""
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode("latin-1") if isinstance(value, bytes) else value


def outputs(result):
    answer = result.get_response()
    return {
        each.name: {
            "datatype": each.datatype,
            "shape": list(each.shape),
            "values": plain(result.as_numpy(each.name)),
        }
        for each in answer.outputs
    }


def refusal(call):
    """Code and words of the error that a call ends with."""
    try:
        call()
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return ["OK", ""]


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


def stream(client, requests):
    """The answers of a stream, in their order."""
    answers = queue.Queue()
    client.start_stream(callback=partial(lambda into, result, error: into.put((result, error)), answers))
    for arguments in requests:
        client.async_stream_infer(**arguments)
    found = []
    for _ in requests:
        result, error = answers.get(timeout=TIMEOUT_S)
        if error:
            found.append({"error": error.message()})
        else:
            response = result.get_response()
            found.append(
                {
                    "id": response.id,
                    "final": response.parameters["triton_final_response"].bool_param,
                    "num_classes": plain(result.as_numpy("num_classes")),
                }
            )
    client.stop_stream()
    return found


def async_unary(client, inputs):
    answers = queue.Queue()
    client.async_infer("echo", inputs, callback=lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=TIMEOUT_S)
    return error.message() if error else outputs(result)["out_FP32"]


async def asyncio_unary(address, inputs):
    async with triton_aio.InferenceServerClient(address) as client:
        many = await asyncio.gather(*[client.infer("echo", inputs, request_id=str(i)) for i in range(16)])
        return [each.get_response().id for each in many]


def through_shared_memory(client, data):
    """Send one tensor and take one back through shared memory; the rest travels in the messages."""
    size = data["FP32"].nbytes
    region = shared_memory.create_shared_memory_region("both", "/ocella_test_region", 2 * size)
    try:
        shared_memory.set_shared_memory_region(region, [data["FP32"]])
        client.register_system_shared_memory("both", "/ocella_test_region", 2 * size)
        status = client.get_system_shared_memory_status(as_json=True)
        given = [tensor(f"in_{name}", array) for name, array in data.items() if name != "FP32"]
        shared = triton.InferInput("in_FP32", list(data["FP32"].shape), "FP32")
        shared.set_shared_memory("both", size)
        wanted = triton.InferRequestedOutput("out_FP32")
        wanted.set_shared_memory("both", size, offset=size)
        result = client.infer("echo", [*given, shared], outputs=[wanted, triton.InferRequestedOutput("out_INT8")])
        back = shared_memory.get_contents_as_numpy(region, np.float32, list(data["FP32"].shape), offset=size)
        too_far = triton.InferInput("in_FP32", list(data["FP32"].shape), "FP32")
        too_far.set_shared_memory("both", size, offset=size + 4)
        outside = refusal(lambda: client.infer("echo", [*given, too_far]))
        twice = refusal(lambda: client.register_system_shared_memory("both", "/ocella_test_region", size))
        answer = {
            "status": status,
            "values": plain(back),
            "beside": plain(result.as_numpy("out_INT8")),
            "outside": outside,
            "twice": twice,
        }
        client.unregister_system_shared_memory("both")
        answer["status_after"] = client.get_system_shared_memory_status(as_json=True)
        answer["unknown"] = refusal(lambda: client.infer("echo", [*given, shared]))
        return answer
    finally:
        shared_memory.destroy_shared_memory_region(region)


def main(address, paths):
    client = triton.InferenceServerClient(address)
    arrays = echo_inputs()
    inputs = [tensor(f"in_{name}", array) for name, array in arrays.items()]
    pictures = images(paths)
    report = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": [client.is_model_ready("echo"), client.is_model_ready("echo", "1"), client.is_model_ready("no")],
        "server": client.get_server_metadata(as_json=True),
        "metadata": client.get_model_metadata("classes", as_json=True),
        "config": client.get_model_config("classes", as_json=True),
        "index": client.get_model_repository_index(as_json=True),
        "sent": {name: plain(array) for name, array in arrays.items()},
        "echo": outputs(client.infer("echo", inputs, request_id="7", priority=1, timeout=30_000_000)),
        "asked": list(outputs(client.infer("echo", inputs, outputs=[triton.InferRequestedOutput("out_INT8")]))),
        "gzip": list(outputs(client.infer("echo", inputs, compression_algorithm="gzip"))),
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
        "column": outputs(client.infer("classes", [tensor("image", pictures[:, None])])),
        "options": outputs(client.infer("classes", [tensor("image", pictures)], parameters={"top_k": 2})),
        "async": async_unary(client, inputs),
        "asyncio": asyncio.run(asyncio_unary(address, inputs)),
        "stream": stream(
            client,
            [
                *(
                    {"model_name": "classes", "inputs": [tensor("image", pictures[:1])], "request_id": str(i)}
                    for i in range(3)
                ),
                {"model_name": "no", "inputs": inputs, "request_id": "bad"},
                {
                    "model_name": "classes",
                    "inputs": [tensor("image", pictures[:1])],
                    "request_id": "last",
                    "enable_empty_final_response": True,
                },
            ],
        ),
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
            "no batch axis": refusal(
                lambda: client.infer("classes", [tensor("image", np.ones((3, 96, 128), np.float32))])
            ),
            "not an image": refusal(lambda: client.infer("classes", [tensor("image", np.array([b"no"], object))])),
            "sequence": refusal(lambda: client.infer("echo", inputs, sequence_id=3)),
            "past deadline": refusal(lambda: client.infer("echo", inputs, timeout=1)),
            "cuda": refusal(lambda: client.register_cuda_shared_memory("c", b"aGFuZGxl", 0, 64)),
            "config": refusal(lambda: client.load_model("echo", config="{}")),
            "file": refusal(lambda: client.load_model("echo", config="{}", files={"file:1/model.onnx": b"x"})),
            "load unknown": refusal(lambda: client.load_model("no")),
            "slash in a key": refusal(lambda: client.register_system_shared_memory("r", "../etc/passwd", 8)),
        },
        "trace": client.get_trace_settings(as_json=True),
        "trace file": refusal(lambda: client.update_trace_settings(settings={"trace_level": "TIMESTAMPS"})),
        "logs": client.get_log_settings(as_json=True),
        "log file": refusal(lambda: client.update_log_settings({"log_file": "/tmp/x"})),
        "shared": through_shared_memory(client, arrays),
        "statistics": client.get_inference_statistics("classes", as_json=True),
        "all statistics": client.get_inference_statistics(as_json=True),
    }
    client.unload_model("vectors")
    report["after unload"] = client.is_model_ready("vectors")
    report["unloaded"] = refusal(lambda: client.infer("vectors", [tensor("image", pictures)]))
    client.load_model("vectors")
    report["after load"] = client.is_model_ready("vectors")
    client.close()
    sys.stdout.write(json.dumps(report))


main(sys.argv[1], sys.argv[2:])
