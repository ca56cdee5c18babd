"""Wrong requests: each a problem document with its own code that says what to do."""

import asyncio
import gzip
import http.client
import json
import socket
import struct
import zlib

import httpx
import numpy as np
import pytest

from contract.bundle import find_bundle, open_bundle
from service.app import create_app
from service.engine import Outputs
from service.model import Model
from service.observability import JsonFormatter
from service.settings import Settings
from tests.conftest import open_connection, post_raw, wait_until
from tests.service.conftest import encode, predict_request, read_metrics

SMALL = encode(np.zeros((64, 64), np.uint8))


def post(service, **request) -> httpx.Response:
    return service.client.post("/predict", **request)


def assert_problem(response: httpx.Response, status: int, code: str) -> None:
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text


def png_of_60_megapixels() -> bytes:
    """A valid PNG of some kB: a black image of 10,000 x 6,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 10_000, 6_000, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(10_001) * 6_000, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_no_file_part_is_named_missing(service, png):
    assert_problem(post(service, files={"image": ("a.png", png)}), 400, "missing_file")


def test_a_form_without_any_part_is_named_missing(service):
    body = b"--x--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert_problem(post(service, content=body, headers=headers), 400, "missing_file")


def test_two_files_are_refused(service, png):
    files = [("file", ("a.png", png)), ("file", ("b.png", png))]
    assert_problem(post(service, files=files), 400, "several_files")


def test_a_field_beside_the_file_is_refused(service, png):
    request = {"files": {"file": ("a.png", png)}, "data": {"patient": "Jane"}}
    assert_problem(post(service, **request), 400, "unexpected_part")


def test_an_empty_file_is_refused(service):
    assert_problem(service.predict(b""), 400, "empty_file")


def test_a_body_that_is_no_form_is_refused(service, png):
    headers = {"content-type": "image/png"}
    assert_problem(post(service, content=png, headers=headers), 415, "not_multipart")
    assert_problem(post(service, json={"file": "x"}), 415, "not_multipart")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"no boundary here"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--",
        ),
    ],
)
def test_a_damaged_form_is_refused(service, content_type, body):
    response = post(service, content=body, headers={"content-type": content_type})
    assert_problem(response, 400, "malformed_multipart")


PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"text\r\n" + PART + b"\r\nimage\r\n--x--\r\n", "does not begin with the boundary"),
        (PART + b"\r\na\r\n--x and more\r\n--x--\r\n", "begins with the boundary; choose another"),
        (PART + 8 * b"A: b\r\n" + b"\r\na\r\n--x--\r\n", "more than 8 headers"),
        (PART + b"A: " + 5000 * b"b" + b"\r\n\r\na\r\n--x--\r\n", "or one too long"),
        (PART + b"\r\nimage", "cut short"),
    ],
    ids=["text before", "false boundary", "many headers", "long header", "cut short"],
)
def test_a_form_is_refused_with_what_is_wrong_with_it(service, body, detail):
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = post(service, content=body, headers=headers)
    assert_problem(answer, 400, "malformed_multipart")
    assert detail in answer.json()["detail"]


def test_a_file_named_in_another_coding_alone_is_refused_and_says_so(service, png):
    body = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''a.png\r\n\r\n"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = post(service, content=body + png + b"\r\n--x--\r\n", headers=headers)
    assert_problem(answer, 400, "unexpected_part")
    assert "filename*= does not count" in answer.json()["detail"]


def test_a_form_that_breaks_off_is_refused(service, png):
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + png
    headers = {"content-type": "multipart/form-data; boundary=x"}
    response = post(service, content=body, headers=headers)
    assert_problem(response, 400, "malformed_multipart")


def test_text_named_png_is_refused_as_no_image(service):
    response = service.predict(b"I am a text.", name="image.png")
    assert_problem(response, 415, "unsupported_format")


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "BMP"])
def test_other_image_formats_are_named_in_the_answer(service, file_format):
    response = service.predict(encode(np.eye(200, dtype=np.uint8) * 255, file_format))
    assert_problem(response, 415, "unsupported_format")
    assert file_format in response.json()["detail"]


def test_60_megapixels_in_a_small_png_are_refused(service):
    bomb = png_of_60_megapixels()
    assert len(bomb) < 100_000
    assert_problem(service.predict(bomb), 422, "too_many_pixels")


def test_a_40_mb_body_is_refused_by_its_declared_length(service):
    assert_problem(service.predict(bytes(40_000_000)), 413, "body_too_large")


def test_a_40_mb_body_without_a_declared_length_is_refused_while_it_comes(service):
    def chunks():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(40):
            yield bytes(1_000_000)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert_problem(post(service, content=chunks(), headers=headers), 413, "body_too_large")


def test_a_file_just_within_the_limit_is_read(service):
    response = service.predict(b"\x89PNG\r\n\x1a\n" + bytes((32 << 20) - 8))
    assert_problem(response, 422, "damaged_file")


def test_a_file_one_byte_beyond_the_limit_is_refused(service):
    response = service.predict(b"\x89PNG\r\n\x1a\n" + bytes((32 << 20) - 7))
    assert_problem(response, 413, "body_too_large")


def test_a_wrong_method_names_the_right_ones(service):
    response = service.client.get("/predict")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_an_unknown_path_says_where_to_post(service):
    response = service.client.post("/predictions")
    assert_problem(response, 404, "not_found")
    assert "/predict" in response.json()["detail"]


def test_an_impossible_parameter_is_named(service, png):
    response = service.predict(png, maps="perhaps")
    assert_problem(response, 400, "invalid_parameter")
    assert "maps" in response.json()["detail"]


def test_a_client_that_goes_away_in_its_upload_harms_nobody(service, png):
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\nConnection: close\r\n\r\n--x\r\n"
    )
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head)
    assert service.predict(png).status_code == 200
    assert "failure" not in service.log()


def test_garbage_instead_of_http_harms_nobody(service, png):
    status, _ = post_raw(service.url, b"\x00\xff garbage\r\n\r\n")
    assert status == 400
    assert service.predict(png).status_code == 200


def test_problem_documents_hold_the_documented_fields_only(service):
    document = service.client.get("/openapi.json").json()
    for response in document["paths"]["/predict"]["post"]["responses"].values():
        if "application/problem+json" in response["content"]:
            assert list(response["content"]) == ["application/problem+json"]
            schema = response["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}
    fields = document["components"]["schemas"]["Problem"]["properties"]
    assert set(service.predict(b"").json()) == set(fields)


def test_a_trailing_slash_is_another_path(service, png):
    assert_problem(service.client.post("/predict/", files={"file": png}), 404, "not_found")


class BrokenEngine:
    name, precision = "broken", "float32"

    def infer(self, image: np.ndarray) -> Outputs:
        raise RuntimeError(f"CANARY {image.shape}")


def test_an_error_of_the_service_is_answered_with_500_and_its_message_is_told_to_nobody(
    png, caplog
):
    settings = Settings(streams=1)
    bundle = open_bundle(find_bundle(settings.model_dir))
    app = create_app(settings, Model(bundle, BrokenEngine()))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            return await client.post("/predict", files={"file": png})

    answer = asyncio.run(ask())
    assert_problem(answer, 500, "internal_error")
    (line,) = [json.loads(JsonFormatter().format(each)) for each in caplog.records]
    assert (line["event"], line["error"]) == ("failure", "RuntimeError")
    assert line["request_id"] == answer.json()["request_id"]
    assert "CANARY" not in answer.text + json.dumps(line)


@pytest.mark.parametrize("megabytes", [40, 100])
def test_a_client_that_sends_all_before_it_reads_still_sees_why_it_was_refused(service, megabytes):
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/predict", form + bytes(megabytes * 1_000_000), headers)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "body_too_large")
    connection.close()


def test_a_client_that_offers_an_upgrade_to_http_2_is_answered(service, png):
    """As Java's HttpClient does on every plain request."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + png
        + b"\r\n--x--\r\n"
    )
    head = (
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n"
        f"Content-Length: {len(body)}\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode() + body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert "upgrade" not in service.log()
    assert "WebSocket" not in service.log()


def test_a_form_whose_boundary_is_too_long_is_refused_and_says_so(service):
    boundary = "x" * 257
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    answer = post(service, content=f"--{boundary}--".encode(), headers=headers)
    assert_problem(answer, 400, "malformed_multipart")
    assert "choose a shorter one" in answer.json()["detail"]


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; charset=utf-8"])
def test_a_form_whose_boundary_is_not_told_is_refused_and_says_so(service, boundary):
    headers = {"content-type": f"multipart/form-data{boundary}"}
    answer = post(service, content=b"--x\r\n", headers=headers)
    assert_problem(answer, 400, "malformed_multipart")
    assert "names no boundary" in answer.json()["detail"]


def test_a_body_in_another_coding_is_refused_and_says_so(service, png):
    request = service.client.build_request("POST", "/predict", files={"file": png})
    body = gzip.compress(request.read())
    headers = {"content-type": request.headers["content-type"], "content-encoding": "gzip"}
    answer = post(service, content=body, headers=headers)
    assert_problem(answer, 415, "encoded_body")
    assert answer.headers["accept-encoding"] == "identity"


def test_a_body_that_names_no_coding_but_identity_is_read(service, png):
    headers = {"content-encoding": "Identity"}
    answer = service.client.post("/predict", files={"file": png}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/health", "/", "/web/main.js", "/docs", "/openapi.json"])
def test_what_is_got_may_be_asked_for_its_head_and_says_so(service, path):
    assert service.client.head(path).status_code == 200
    allowed = service.client.delete(path).headers["allow"].split(", ")
    assert sorted(allowed) == ["GET", "HEAD"]


def test_an_absolute_target_is_taken_as_its_path_on_its_own_host(service):
    for host, status in (("127.0.0.1:80", 200), ("evil.example", 421)):
        head = f"GET http://{host}/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        assert post_raw(service.url, head.encode())[0] == status


@pytest.mark.parametrize("charset", ["undefined", "no-such-charset", "utf-16"])
def test_a_strange_charset_is_never_an_error_of_the_service(service, png, charset):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + png
        + b"\r\n--x--\r\n"
    )
    content_type = f"multipart/form-data; boundary=x; charset={charset}"
    answer = post(service, content=body, headers={"content-type": content_type})
    assert answer.status_code == 200


def test_a_body_that_never_comes_is_given_up_and_its_room_is_free_again(start_service, png):
    with start_service(XPRO_UPLOAD_TIMEOUT_S="0.5") as service:
        head = (
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\nConnection: close\r\n\r\n--x\r\n"
        )
        status, body = post_raw(service.url, head)
        assert (status, json.loads(body)["code"]) == (408, "upload_timeout")
        with open_connection(service.url) as kept:
            kept.sendall(head.replace(b"Connection: close\r\n", b""))
            assert b"connection: close" in kept.recv(65536).lower()
        assert service.predict(png).status_code == 200


def test_uploads_beyond_the_room_for_all_of_them_are_put_off(start_service, png):
    two_megabytes = bytes(2_000_000)
    with start_service(XPRO_MAX_BUFFERED_MIB="3", XPRO_MAX_UPLOAD_MIB="2") as service:
        with open_connection(service.url) as upload:
            upload.sendall(predict_request(two_megabytes)[:-10])
            wait_until(lambda: read_metrics(service)["xpro_uploads_held_bytes"] >= 2_000_000)
            for _ in range(3):
                answer = service.predict(two_megabytes)
                assert_problem(answer, 503, "overloaded")
                assert int(answer.headers["retry-after"]) >= 1
            assert service.predict(png).status_code == 200
        wait_until(lambda: read_metrics(service)["xpro_uploads_held_bytes"] == 0)
        assert service.predict(two_megabytes).status_code == 415
