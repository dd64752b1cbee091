"""Times scoring/cpu's benchmark binary against ONNX Runtime; see bench.sh."""

import json
import re
import statistics
import subprocess
import sys
import time

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

NETS = ("64-256-256-1", "15-64-64-1")
ROWS = (1, 32, 256, 1024)
EXPORTED_ROWS = 256
SECONDS = 0.3  # of each measurement


def ours(work, net, rows, *flags):
    """Runs our benchmark once; ns a call."""
    name = f"^BenchmarkScore$/^net={net}$/^rows={rows}$/^backend=asm$"
    args = [f"{work}/bench", "-test.run=^$", f"-test.bench={name}", "-test.cpu=1", f"-test.benchtime={SECONDS}s", *flags]
    text = subprocess.run(args, check=True, capture_output=True, text=True).stdout
    return float(re.search(r"\s([0-9.]+) ns/op", text).group(1))


def session(work, net):
    """Builds the same network from our weights and checks that it scores the same."""
    widths = [int(w) for w in net.split("-")]
    data = np.fromfile(f"{work}/net={net}.f32", dtype="<f4")
    nodes, weights, at, last = [], [], 0, "x"
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        for name, shape in (("w", (a, b)), ("b", (b,))):
            n = int(np.prod(shape))
            weights.append(numpy_helper.from_array(data[at : at + n].reshape(shape), f"{name}{i}"))
            at += n
        out = "y" if i == len(widths) - 2 else f"h{i}"
        nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [f"g{i}"]))
        nodes.append(helper.make_node("Sigmoid" if out == "y" else "Relu", [f"g{i}"], [out]))
        last = out
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, widths[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    made = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    n = EXPORTED_ROWS * widths[0]
    x, want = data[at : at + n].reshape(-1, widths[0]), data[at + n :]
    worst = float(np.abs(made.run(None, {"x": x})[0][:, 0] - want).max())
    if len(want) != EXPORTED_ROWS or worst > 1e-5:
        sys.exit(f"{net}: ONNX Runtime differs from us by {worst}")
    return made, np.tile(x, (ROWS[-1] // EXPORTED_ROWS, 1))


def theirs(made, x):
    """Times ONNX Runtime with inputs and outputs bound once; ns a call."""
    binding = made.io_binding()
    binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
    binding.bind_ortvalue_output("y", ort.OrtValue.ortvalue_from_numpy(np.zeros((len(x), 1), np.float32)))
    calls, end = 0, time.perf_counter() + SECONDS
    made.run_with_iobinding(binding)
    start = time.perf_counter()
    while time.perf_counter() < end:
        for _ in range(max(1, 512 // len(x))):
            made.run_with_iobinding(binding)
            calls += 1
    return (time.perf_counter() - start) / calls * 1e9


def main(work, rounds):
    result = {"onnxruntime": ort.__version__, "rounds": rounds}
    print(f"{'net':>13} {'rows':>5} {'weir ns/row':>12} {'ORT ns/row':>11} {'ratio':>6}   range over {rounds} rounds")
    for net in NETS:
        ours(work, net, 1, f"-export={work}")
        made, x = session(work, net)
        for rows in ROWS:
            a, b = [], []
            for _ in range(rounds):
                a.append(ours(work, net, rows))
                b.append(theirs(made, np.ascontiguousarray(x[:rows])))
            each = [t / u for t, u in zip(b, a)]
            ratio = statistics.median(each)
            result[f"{net}/{rows}"] = round(ratio, 3)
            print(f"{net:>13} {rows:>5} {statistics.median(a) / rows:>12.0f} {statistics.median(b) / rows:>11.0f}"
                  f" {ratio:>6.2f}   {min(each):.2f} to {max(each):.2f}", flush=True)
    print(json.dumps(result))


main(sys.argv[1], int(sys.argv[2]))
