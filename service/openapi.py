"""`python -m service.openapi`: write openapi/openapi.json, or with --check compare it."""

import json
import sys
from pathlib import Path

from service.app import create_app
from service.model import load_model
from service.settings import Settings

TARGET = Path(__file__).parent.parent / "openapi" / "openapi.json"


def render() -> str:
    """Return the OpenAPI document of the application as it is now."""
    settings = Settings()
    app = create_app(settings, load_model(settings))
    return json.dumps(app.openapi(), indent=1) + "\n"


def main() -> int:
    """Write the document; with --check return 1 where the file differs."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(render())
        return 0
    if TARGET.read_text() == render():
        return 0
    print(f"{TARGET.name} is not what the code says; run: make openapi", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
