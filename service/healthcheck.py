"""Run as a file by the container's health check: ends with 0 where the service here is ready.

It imports nothing but the standard library, so that it starts in a few hundredths of a second.
"""

import http.client
import os
import ssl
import sys


def main() -> int:
    """Ask /health/ready on 127.0.0.1, over TLS where the settings say so.

    With mutual TLS, where this has no certificate to show, being refused for that is all it sees.
    """
    port = int(os.environ.get("XPRO_PORT", "8000"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    if os.environ.get("XPRO_TLS_CERT"):
        # It stays on this machine, and the certificate names another host.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=4, context=context)
    try:
        connection.request("GET", "/health/ready")
        return int(connection.getresponse().status != 200)
    except ssl.SSLError as error:
        asked = "CERTIFICATE_REQUIRED" in error.reason or "HANDSHAKE_FAILURE" in error.reason
        return int(not (os.environ.get("XPRO_TLS_CLIENT_CA") and asked))
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
