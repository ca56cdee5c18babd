"""The HTTP service: a radiograph in, 14 probabilities out."""

__version__ = "0.1.0"
