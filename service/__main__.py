"""`python -m service`: load the model, serve, drain on SIGTERM."""

import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.settings import Settings

EXIT_START = 1
EXIT_SETTINGS = 2
EXIT_BUNDLE = 3
_OPEN_FILES = 65_536
_OWN_FILES = 64
_FILES_OF_A_STREAM = 5
"""Four of a worker process, and one of a connection."""
_WORKER_ENVIRONMENT = {
    # Each has one core's work to do and a limit on its address space.
    "OPENBLAS_NUM_THREADS": "1",
    # The memory of one file's pixels serves the next: the kernel's costs 0.5 ms a MiB.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}


def main() -> int:
    """Run the service.

    Returns 0 after draining, 2 for wrong settings, 3 for a refused bundle, 1 where the
    address or the processes to decode in cannot be had.
    """
    for name, value in _WORKER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from contract.seal import BundleError
    from service.key_file import KeyFile, KeyFileError
    from service.model import load_model
    from service.observability import configure_logging
    from service.settings import Settings, SettingsError
    from service.tls import check_tls

    configure_logging()
    try:
        settings = Settings.from_environment()
        _allow_open_files(settings.streams)
        _allow_file_size(settings.max_upload_mib)
        _check_memory(settings.decode_memory_mib)
        check_tls(settings)
        keys = KeyFile(settings.keys_file) if settings.keys_file else None
        model = load_model(settings)
    except SettingsError as error:
        print(f"Wrong setting: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    except KeyFileError as error:
        print(f"Wrong setting: XPRO_KEYS_FILE: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    except BundleError as error:
        print(f"Model bundle refused: {error}", file=sys.stderr)
        return EXIT_BUNDLE
    from service.app import create_app

    return _serve(create_app(settings, model, keys), settings)


def _allow_open_files(streams: int) -> None:
    """Raise the limit on open files, often 1024, so that idle connections do not use it up.

    Raises SettingsError where it is too low for so many streams.
    """
    from service.settings import SettingsError

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < (needed := _OWN_FILES + _FILES_OF_A_STREAM * streams):
        detail = f"XPRO_STREAMS={streams} needs {needed} open files"
        raise SettingsError(f"{detail}, and the limit is {most} (ulimit -n).")


def _allow_file_size(max_upload_mib: int) -> None:
    """Raise the limit on the size of files, which holds for memory shared with workers too.

    Raises SettingsError where it is below the largest upload.
    """
    from service.settings import SettingsError

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    needed = max_upload_mib << 20
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        detail = f"XPRO_MAX_UPLOAD_MIB={max_upload_mib} is above the limit on the size of files"
        raise SettingsError(f"{detail}, {hard} bytes (ulimit -f).")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def _check_memory(decode_memory_mib: int) -> None:
    """Raise SettingsError where a limit on address space is below that of a decoding worker."""
    from service.settings import SettingsError

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY and hard < decode_memory_mib << 20:
        detail = f"XPRO_DECODE_MEMORY_MIB={decode_memory_mib} is above the limit on address space"
        raise SettingsError(f"{detail}, {hard} bytes (ulimit -v).")


def _serve(app: "FastAPI", settings: "Settings") -> int:
    """Serve until SIGTERM or SIGINT; then unready, accepting a while longer, then drained."""
    import ssl

    import uvicorn

    from service.draining import DrainingServer
    from service.guard import MAX_HEADERS_BYTES
    from service.observability import log_event
    from service.protocol import bounded_protocol

    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        # On h11, since httptools drops the body of a request that offers an upgrade, as Java's
        # client does with h2c on every one.
        http=bounded_protocol(settings.header_timeout_s, settings.upload_timeout_s),
        h11_max_incomplete_event_size=MAX_HEADERS_BYTES,
        # What a client claims about itself in X-Forwarded-* changes nothing here.
        proxy_headers=False,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        ssl_ca_certs=settings.tls_client_ca,
        ssl_cert_reqs=ssl.CERT_REQUIRED if settings.tls_client_ca else ssl.CERT_NONE,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_s,
    )
    try:
        bound = config.bind_socket()
    except SystemExit:  # with 3 and a log line; here 3 says that the bundle was refused
        print(f"Port {settings.port} of {settings.host} cannot be had.", file=sys.stderr)
        return EXIT_START
    if settings.port == 0:
        log_event("bound", port=bound.getsockname()[1])
    try:
        DrainingServer(config, app, settings.drain_s).run([bound])
    except SystemExit:  # with 3, too, where the application did not start; the log says why
        return EXIT_START
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the server takes signals
        sys.exit(128 + signal.SIGINT)
