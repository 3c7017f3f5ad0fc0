"""Fused recurrent steps and matrix products, and the optional compiled kernel."""
