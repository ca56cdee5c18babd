"""Checks of what the project is built from, run by `make`; no part of the program."""
