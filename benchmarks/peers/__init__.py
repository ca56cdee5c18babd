"""The same SavedModel behind other servers, compared by `python -m benchmarks.peers`."""
