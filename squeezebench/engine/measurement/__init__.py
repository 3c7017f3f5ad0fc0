"""What the engine measures on the compact module: parameters, bytes, multiply-accumulates, memory, latency.

Methods never report figures of their own; everything here reads the module that is scored.
"""

from squeezebench.engine.measurement.cost import cost
from squeezebench.engine.measurement.counts import count, stored_numbers
from squeezebench.engine.measurement.files import load_model, read_spec, save_model
from squeezebench.engine.measurement.latency import DenseReference, latency
from squeezebench.engine.measurement.macs import closed_form_macs, macs
from squeezebench.engine.measurement.memory import peak_activation_bytes

__all__ = [
    "DenseReference",
    "closed_form_macs",
    "cost",
    "count",
    "latency",
    "load_model",
    "macs",
    "peak_activation_bytes",
    "read_spec",
    "save_model",
    "stored_numbers",
]
