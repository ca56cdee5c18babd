"""What the running service holds between requests."""

from dataclasses import dataclass

from service.decoding import Decoder
from service.model import Model
from service.scheduling import InferencePool, WaitingLine
from service.settings import Settings
from service.uploads import Uploads


@dataclass
class State:
    """Made when the application starts, closed when it ends; `draining` is set by SIGTERM."""

    settings: Settings
    model: Model
    decoder: Decoder
    inference: InferencePool
    line: WaitingLine
    uploads: Uploads
    draining: bool = False

    @classmethod
    def start(cls, settings: Settings, model: Model) -> "State":
        """Start the decoding workers and the inference threads."""
        decoder = Decoder(
            model.bundle.input_size,
            settings.streams,
            settings.decode_timeout_s,
            settings.decode_memory_mib,
        )
        inference = InferencePool(model.engine, settings.streams)
        line = WaitingLine(settings.max_waiting, settings.streams)
        uploads = Uploads(
            settings.max_upload_mib, settings.max_buffered_mib, settings.upload_timeout_s
        )
        return cls(settings, model, decoder, inference, line, uploads)

    def close(self) -> None:
        """Finish what is under way and end workers and threads."""
        self.decoder.close()
        self.inference.close()
