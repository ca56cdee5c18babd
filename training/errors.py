"""Everything that can be wrong with what training is given.

TrainingError
├── DataError           a label table, list or image folder that cannot be used
│   └── LeakageError      one patient or image on two sides of a split
├── CacheError          prepared images that do not fit this code or this data
├── ConfigError         an unknown profile, field or value
├── WeightsError        a file of published weights that is not what its kind says
└── RunError            a run folder that cannot be begun or continued
"""


class TrainingError(Exception):
    """Something the person at the command line can put right; the message says what."""


class DataError(TrainingError):
    """A label table, list or image folder that cannot be used as it is."""


class LeakageError(DataError):
    """A patient or an image in more than one split."""


class CacheError(TrainingError):
    """Prepared images of another contract version, size or set of files."""


class ConfigError(TrainingError):
    """An unknown profile or field, or a value of the wrong type."""


class WeightsError(TrainingError):
    """A file of published weights that is dangerous, damaged or not of its kind."""


class RunError(TrainingError):
    """A run folder that is there already, is finished, or does not fit this code or data."""
