"""The HTTP service: a radiograph in, 14 probabilities out."""

import sys

# OpenVINO would tell Google Analytics of each start, with an id that it keeps in the home folder;
# it has a stand-in for where this module is missing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

__version__ = "0.1.0"
