"""Against the originals' own libraries: collected by `make test-importers` only, which has them."""

import warnings
from importlib.util import find_spec

collect_ignore_glob = []
if find_spec("torch") is None:
    collect_ignore_glob += ["test_*.py"]
else:
    # Triton ends the process where TensorFlow is loaded before it, or where a warning at its import
    # is an error.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchvision  # noqa: F401
        import torchxrayvision  # noqa: F401

        # isort: split
        import tf_keras  # noqa: F401
