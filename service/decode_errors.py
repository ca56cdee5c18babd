"""Why a worker process gave no pixels."""

from typing import Final

from contract import errors
from contract.errors import InputError, UnusableFile
from service.decode_worker import OUT_OF_MEMORY


class NoDecoder(Exception):
    """No worker process, no memory to hand it a file, or no processor time for it for now.

    To be tried again in `retry_after_s` s.
    """

    code = "no_decoder"

    retry_after_s: Final = 5

    def __init__(self) -> None:
        super().__init__(
            f"No decoding process, memory or processor time is to be had; try again in "
            f"{self.retry_after_s} s."
        )


class DecodeTimeout(UnusableFile):
    """The file takes longer to decode than any radiograph does."""

    code = "decode_timeout"


class DecodeCrashed(UnusableFile):
    """The file brought the decoder down."""

    code = "decode_crashed"


class DecodeMemory(UnusableFile):
    """The file needs more memory to decode than a worker has."""

    code = OUT_OF_MEMORY


ERRORS: Final[dict[str, type[InputError]]] = {
    kind.code: kind
    for kind in (*vars(errors).values(), DecodeMemory)
    if isinstance(kind, type) and issubclass(kind, InputError)
}
"""By code: only bytes and JSON cross the pipe."""
