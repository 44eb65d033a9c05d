"""Vectors: what every client answers alike; `python -m tests.vectors.make` writes them."""
