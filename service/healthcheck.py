"""Run as a file by the container's health check: ends with 0 where the service here is ready.

It imports nothing but the standard library, so that it starts in a few hundredths of a second.
"""

import http.client
import os
import ssl
import sys


def main() -> int:
    """Ask /health/ready on 127.0.0.1, over TLS where the settings say so.

    With mutual TLS it has no certificate to show, so that the service speaks TLS is all it sees.
    """
    port = int(os.environ.get("XPRO_PORT") or "8000")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    if os.environ.get("XPRO_TLS_CERT"):
        # It stays on this machine, and the certificate names another host.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=4, context=context)
    try:
        connection.connect()
        if os.environ.get("XPRO_TLS_CLIENT_CA"):
            return 0
        connection.request("GET", "/health/ready")
        return int(connection.getresponse().status != 200)
    except (OSError, http.client.HTTPException):
        return 1


if __name__ == "__main__":
    sys.exit(main())
