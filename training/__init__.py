"""From label tables and radiographs to a model bundle; `python -m training --help`."""
