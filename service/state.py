"""What the running service holds between requests."""

from collections.abc import Callable
from dataclasses import dataclass

from service.decoding import Decoder
from service.model import Model
from service.scheduling import InferencePool, WaitingLine
from service.settings import Settings
from service.uploads import Uploads


@dataclass
class State:
    """Made when the application starts, closed when it ends.

    `model`: replaced as a whole by a new version; a request takes it once. `refused`: why the
    newest version does not answer. `draining`: set by SIGTERM.
    """

    settings: Settings
    model: Model
    decoder: Decoder
    inference: InferencePool
    line: WaitingLine
    uploads: Uploads
    refused: str | None = None
    draining: bool = False

    @classmethod
    def start(cls, settings: Settings, model: Model, waited: Callable[[float], None]) -> "State":
        """Start the decoding workers and the inference threads.

        `waited`: told the seconds that each request stood in line.
        """
        decoder = Decoder(settings.streams, settings.decode_timeout_s, settings.decode_memory_mib)
        inference = InferencePool(settings.streams)
        # For each stream one that decodes while another infers, so that no core waits for a turn.
        lanes = 2 * settings.streams
        line = WaitingLine(settings.max_waiting, lanes, settings.wait_timeout_s, waited)
        uploads = Uploads(
            settings.max_upload_mib, settings.max_buffered_mib, settings.upload_timeout_s
        )
        return cls(settings, model, decoder, inference, line, uploads)

    def close(self) -> None:
        """Finish what is under way and end workers and threads."""
        self.decoder.close()
        self.inference.close()
