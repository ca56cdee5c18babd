"""What the OpenAPI document says beyond the response models: the body, images, who may ask."""

from typing import Any, Final

from fastapi import FastAPI

from service.guard import needed_scope
from service.multipart import PART
from service.problem_examples import OF_ANY_PATH, OF_KEYS, describe_problem
from service.schemas import EXAMPLES, Prediction, Problem

_REQUEST_ID: Final = {"description": "as in the log", "schema": {"type": "string"}}
Responses = dict[int | str, dict[str, Any]]

BODY: Final = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    PART: {
                        "type": "string",
                        # What OpenAPI 3.0 says, and generators of clients for 3.1 still ask for.
                        "format": "binary",
                        "contentMediaType": "application/octet-stream",
                        "description": "one frontal chest radiograph: PNG, JPEG or DICOM; the part "
                        "carries a filename=, as of every file, which is not looked at",
                    }
                },
                "required": [PART],
                "additionalProperties": False,
            }
        }
    },
}


def describe_png(kind: str) -> dict[str, Any]:
    """Describe an answer that is a PNG of a kind, such as `8-bit grey`."""
    # The first bytes of every PNG stand for an example.
    content = {"schema": {"type": "string", "contentMediaType": "image/png"}, "example": "\x89PNG"}
    return {"description": f"{kind} PNG", "content": {"image/png": content}}


MODEL: Final[Responses] = {
    200: {
        "description": "assets.extra/bundle.json of the served bundle, shortened here, and which "
        "precision answers",
        "content": {
            "application/json": {
                "example": {
                    "name": "xpro-demo",
                    "version": "4",
                    "digest": f"sha256:{'5f1d7b6e' * 8}",
                    "precision": "int8",
                    "input_size": 192,
                    "contract_version": 2,
                    "macro_auroc": {"out of 4 folds": 0.752, "test": 0.703},
                    "findings": [
                        {
                            "name": "Cardiomegaly",
                            "threshold": 0.031,
                            "threshold_rule": "Youden",
                            "auroc": 0.834,
                            "auroc_ci": [0.794, 0.871],
                            "positives": 144,
                            "images": 758,
                            "split": "test",
                        }
                    ],
                    "intended_use": "Research and demonstration. Not a medical device.",
                }
            }
        },
    }
}

METRICS: Final[Responses] = {
    200: {
        "description": "counters, histograms and gauges; docs/operations.md lists them",
        "content": {
            "text/plain": {
                "schema": {"type": "string"},
                "example": 'xpro_requests_total{code="ok",route="/predict"} 1.0\n',
            }
        },
    }
}


def complete_document(app: FastAPI) -> None:
    """Say in the OpenAPI document which paths need a key, of which scope, and what is refused.

    The schema of all problems is added once; every answer refers to it.
    """
    make = app.openapi
    scheme = {
        "type": "http",
        "scheme": "bearer",
        "description": "Needed where the service runs with a key file (docs/access.md).",
    }

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            components = document["components"]
            components["schemas"][Problem.__name__] = Problem.model_json_schema()
            components["securitySchemes"] = {"key": scheme}
            fields = components["schemas"][Prediction.__name__]["properties"]
            for name, example in EXAMPLES.items():
                fields[name]["examples"] = [example]
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    _document_access(operation, needed_scope(path))
                    for answer in operation["responses"].values():
                        answer.setdefault("headers", {})["X-Request-ID"] = _REQUEST_ID
        return make()

    app.openapi = openapi  # type: ignore[method-assign]


def _document_access(operation: dict[str, Any], needed: str | None) -> None:
    problems = {**OF_ANY_PATH, **(OF_KEYS if needed else {})}
    for status, details in problems.items():
        operation["responses"][str(status)] = describe_problem(status, details)
    if needed:
        # Either a key or, where the service runs without, nothing.
        operation["security"] = [{"key": []}, {}]
        scope = f"With keys on, the key needs the scope `{needed}`."
        operation["description"] = f"{operation.get('description', '')}\n\n{scope}".strip()
