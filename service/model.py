"""The model that is served: a verified bundle in a running engine."""

from typing import NamedTuple

from contract.bundle import Bundle, find_bundle, open_bundle
from service.engine import Engine, open_engine
from service.settings import Settings


class Model(NamedTuple):
    """A bundle and the engine that answers for it."""

    bundle: Bundle
    engine: Engine

    def identity(self) -> dict[str, str]:
        """Return which model answers, as in every answer and in the metrics."""
        return {
            "name": self.bundle.name,
            "version": self.bundle.version,
            "digest": self.bundle.digest,
            "precision": self.engine.precision,
        }


def load_model(settings: Settings, bundle: Bundle | None = None) -> Model:
    """Load a verified bundle, else find and verify the one that the settings name.

    Raises what `open_bundle` and `open_engine` raise.
    """
    if bundle is None:
        bundle = open_bundle(find_bundle(settings.model_dir))
    return Model(bundle, open_engine(settings, bundle))
