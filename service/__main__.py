"""`python -m service`: load the model, serve, drain on SIGTERM."""

import os
import sys
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

    from service.settings import Settings

EXIT_SETTINGS = 2
EXIT_BUNDLE = 3
_LAST_REQUESTS_S = 0.5


def main() -> int:
    """Run the service; returns 0 after draining, 2 for wrong settings, 3 for a refused bundle."""
    # Workers inherit this; each has one core's work to do and a limit on its address space.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from contract.bundle import BundleError
    from service.model import load_model
    from service.observability import configure_logging
    from service.settings import Settings, SettingsError

    configure_logging()
    try:
        settings = Settings.from_environment()
        model = load_model(settings)
    except SettingsError as error:
        print(f"Wrong setting: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    except BundleError as error:
        print(f"Model bundle refused: {error}", file=sys.stderr)
        return EXIT_BUNDLE
    from service.app import create_app

    _serve(create_app(settings, model), settings)
    return 0


def _serve(app: "FastAPI", settings: "Settings") -> None:
    """Serve until SIGTERM or SIGINT; then unready, accepting a while longer, then drained."""
    import asyncio

    import uvicorn

    class DrainingServer(uvicorn.Server):
        def handle_exit(self, _sig: int, _frame: FrameType | None) -> None:
            if app.state.service.draining:  # asked twice: at once
                self.should_exit = True
                return
            app.state.service.draining = True
            asyncio.get_running_loop().call_later(settings.drain_s, self._stop)

        def _stop(self) -> None:
            self.should_exit = True

        async def shutdown(self, sockets: "list[socket.socket] | None" = None) -> None:
            # Uvicorn closes connections that have sent nothing yet; what was accepted a moment ago
            # may have its request on the way.
            for server in self.servers:
                server.close()
            await asyncio.sleep(_LAST_REQUESTS_S)
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_s,
    )
    DrainingServer(config).run()


if __name__ == "__main__":
    sys.exit(main())
