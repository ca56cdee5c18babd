"""`python -m service`: load the model, serve, drain on SIGTERM."""

import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.settings import Settings

EXIT_START = 1
EXIT_SETTINGS = 2
EXIT_BUNDLE = 3
WORKER_ENVIRONMENT: Final = {
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
    for name, value in WORKER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from contract.seal import BundleError
    from service.key_file import KeyFile, KeyFileError
    from service.limits import fit_limits
    from service.model import load_model
    from service.observability import configure_logging
    from service.settings import Settings, SettingsError
    from service.tls import check_tls

    configure_logging()
    try:
        settings = Settings.from_environment()
        connections = fit_limits(settings)
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

    return _serve(create_app(settings, model, keys), settings, connections)


def _serve(app: "FastAPI", settings: "Settings", connections: int) -> int:
    """Serve until SIGTERM or SIGINT; then unready, accepting a while longer, then drained."""
    import ssl

    import uvicorn

    from service.draining import DrainingServer
    from service.observability import log_event
    from service.protocol import bounded_protocol
    from service.tls import bound_connections

    def make_context(_: uvicorn.Config, create: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        return bound_connections(create(), connections)

    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        http=bounded_protocol(settings.header_timeout_s, settings.upload_timeout_s, connections),
        # What a client claims about itself in X-Forwarded-* changes nothing here.
        proxy_headers=False,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        ssl_ca_certs=settings.tls_client_ca,
        ssl_cert_reqs=ssl.CERT_REQUIRED if settings.tls_client_ca else ssl.CERT_NONE,
        ssl_context_factory=make_context if settings.tls_cert else None,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_s,
    )
    try:
        bound = config.bind_socket()
    except SystemExit:  # with 3 and a log line; here 3 says that the bundle was refused
        print(f"Port {settings.port} on {settings.host} is not available.", file=sys.stderr)
        return EXIT_START
    if settings.port == 0:
        log_event("bound", port=bound.getsockname()[1])
    try:
        DrainingServer(config, app, settings.drain_s, settings.header_timeout_s).run([bound])
    except SystemExit:  # with 3, too, where the application did not start; the log says why
        return EXIT_START
    return 0


if __name__ == "__main__":
    # Ctrl-C ends the start at once; as a KeyboardInterrupt it would become an error of whatever C++
    # module is being imported. From then on the server takes it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
