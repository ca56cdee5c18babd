"""Limits that the operating system sets a process (`ulimit`): set, or refused, at the start."""

import resource
from typing import Final

from service.settings import Settings, SettingsError

_OPEN_FILES: Final = 4_096
"""Of them nearly all may be connections."""
_CONNECTIONS_OVER_TLS: Final = 1_500
"""A handshake that never ends takes up to 600 kB of memory, and the process keeps it: 0.9 GB."""
_OWN_FILES: Final = 64
_FILES_OF_A_STREAM: Final = 5
"""Four of a worker process, and one of a connection."""


def fit_limits(settings: Settings) -> int:
    """Set the soft limits as the settings need them; return how many connections may open.

    Raises SettingsError where a hard limit is too low for them.
    """
    connections = _allow_open_files(settings.streams)
    if settings.tls_cert:
        connections = min(connections, _CONNECTIONS_OVER_TLS)
    _allow_file_size(settings.max_upload_mib)
    _check_memory(settings.decode_memory_mib)
    return connections


def _allow_open_files(streams: int) -> int:
    # Often it is 1024, which idle connections would use up, or more than their memory bears.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < (needed := _OWN_FILES + _FILES_OF_A_STREAM * streams):
        detail = f"XPRO_STREAMS={streams} needs {needed} open files"
        raise SettingsError(f"{detail}, and the limit is {most} (ulimit -n).")
    return most - needed + streams


def _allow_file_size(max_upload_mib: int) -> None:
    # The limit holds for the memory shared with workers too.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    needed = max_upload_mib << 20
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        detail = f"XPRO_MAX_UPLOAD_MIB={max_upload_mib} is above the limit on the size of files"
        raise SettingsError(f"{detail}, {hard} bytes (ulimit -f).")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def _check_memory(decode_memory_mib: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY and hard < decode_memory_mib << 20:
        detail = f"XPRO_DECODE_MEMORY_MIB={decode_memory_mib} is above the limit on address space"
        raise SettingsError(f"{detail}, {hard} bytes (ulimit -v).")
