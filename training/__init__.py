"""From label tables and radiographs to a model bundle; `python -m training --help`."""

import sys

# OpenVINO would report each start to Google Analytics, with an id kept in the home folder; without
# this module it falls back to one that does nothing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
