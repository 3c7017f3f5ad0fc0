"""Fused recurrent steps and matrix products, and the compiled kernel of small layers."""
