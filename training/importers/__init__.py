"""Weights that others published -> our DenseNet121, without their libraries and their code."""
