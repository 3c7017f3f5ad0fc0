"""What the engine measures on the compact module: parameters, bytes, multiply-accumulates, memory, latency.

Methods never report figures of their own; everything here reads the module that is scored.
"""
