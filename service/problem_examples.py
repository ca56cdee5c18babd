"""Every problem by status and code, as the OpenAPI document shows it."""

from typing import Any, Final

from service.problems import MEDIA_TYPE, TITLES
from service.schemas import Problem

_PROBLEM_SCHEMA: Final = f"#/components/schemas/{Problem.__name__}"

# By status and code, an example of its detail.
_PROBLEMS: Final = {
    400: {
        "malformed_multipart": "The multipart body is cut short or is damaged.",
        "missing_file": "Send one part named 'file' that holds the image.",
        "several_files": "Send exactly one file in a request.",
        "unexpected_part": "Send one part named 'file', with filename=, and no other.",
        "empty_file": "The file is empty; send the bytes of the image.",
        "invalid_parameter": "query.maps: Input should be a valid boolean.",
    },
    408: {"upload_timeout": "The body did not arrive within 60 s; send it again."},
    413: {"body_too_large": "The file is larger than 32 MiB."},
    415: {
        "unsupported_format": "The content is a GIF file; send PNG, JPEG or DICOM.",
        "not_multipart": "Send multipart/form-data with one part named 'file'.",
        "encoded_body": "Send the body as it is, without Content-Encoding.",
    },
    422: {
        "damaged_file": "The PNG is cut short or is damaged; export it again.",
        "no_pixel_data": "The DICOM object holds no pixel data.",
        "blank_image": "Every pixel has the same value; send an image with content.",
        "several_frames": "The DICOM object holds 13 frames; send one radiograph.",
        "too_small": "The image is 64 x 64 pixels; a radiograph needs at least 128 on each side.",
        "too_many_pixels": "The file declares 10000 x 6000 pixels; at most 50,000,000 are decoded.",
        "too_complex": "The JPEG has more than 100 scans; save it as baseline JPEG.",
        "unsupported_pixels": "The JPEG has 12 bits per sample; send 8-bit JPEG or DICOM.",
        "not_frontal_chest": "ViewPosition is lateral; send the PA or AP view.",
        "decode_timeout": "The file did not decode within 5 s of processor time; send it as "
        "JPEG-LS or HTJ2K, or uncompressed.",
        "decode_crashed": "The file brought its decoder down; send it uncompressed.",
        "decode_memory": "The file needs too much memory to decode; send it at a lower resolution.",
    },
    500: {"internal_error": "An error of the service, not of the file; report it."},
    503: {
        "overloaded": "The service is at its limit; try again in 2 s.",
        "no_decoder": "No decoding process, memory or processor time is to be had; try again in "
        "5 s.",
        "shutting_down": "The service is shutting down; try again in a few seconds.",
    },
}


# What any path may answer before its own work begins, and what those may that need a key.
OF_ANY_PATH: Final = {
    421: {"unknown_host": "The service does not answer to this Host."},
    431: {"headers_too_large": "Send less than 16 KiB of headers and URL."},
}
OF_KEYS: Final = {
    401: {
        "missing_key": "Send the header `Authorization: Bearer KEY` with a key of this service.",
        "unknown_key": "This key is unknown or was revoked; ask for a new one.",
        "expired_key": "This key has expired; ask for a new one.",
    },
    403: {
        "missing_scope": "This key lacks the scope `predict`; ask for one that has it.",
        "foreign_page": "The request comes from another site's page; use the service's own page.",
    },
    429: {"rate_exceeded": "This key is over its rate; try again in 3 s."},
}


def describe_problem(status: int, details: dict[str, str]) -> dict[str, Any]:
    """Describe the problems of a status, `details` by code, for the OpenAPI document."""
    examples = {
        code: {
            "value": {
                "type": "about:blank",
                "title": TITLES[status],
                "status": status,
                "code": code,
                "detail": detail,
                "request_id": "4b1fa0f6f0d94c1b8a53c4d0f7e2a9b1",
            }
        }
        for code, detail in details.items()
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": _PROBLEM_SCHEMA}, "examples": examples}}
    answer: dict[str, Any] = {"description": TITLES[status], "content": content}
    if status in (429, 503):
        seconds = {"type": "integer", "minimum": 1}
        answer["headers"] = {"Retry-After": {"description": "seconds", "schema": seconds}}
    if status in (401, 403):
        answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return answer


PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: describe_problem(status, details) for status, details in _PROBLEMS.items()
}
