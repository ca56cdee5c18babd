"""Against the originals' own libraries: collected by `make test-importers` only, which has them."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]
