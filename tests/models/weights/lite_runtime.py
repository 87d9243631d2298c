"""Runs .tflite files as LiteRT does, also those with MediaPipe's own last operation."""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter


def run(path: Path, frame: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of the network of a file, by name.

    An operation that only MediaPipe knows ends the network: its first input is the output.

    Args:
        path: of the file.
        frame: what the network takes, float32.
    """
    model: Any = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    for index, operator in enumerate(graph.operators):
        if model.operatorCodes[operator.opcodeIndex].customCode:
            graph.outputs = [operator.inputs[0]]
            graph.operators = graph.operators[:index]
            break
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    interpreter = Interpreter(model_content=bytes(builder.Output()))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], frame)
    interpreter.invoke()
    return {
        output["name"]: interpreter.get_tensor(output["index"])
        for output in interpreter.get_output_details()
    }
