"""Odd, lying and damaged multipart requests as raw bytes, against a running service."""

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Service, post_raw
from tests.contract.drawn import draw_radiograph, png
from tests.fuzz.watch import Watch

GOLDEN = png(draw_radiograph())
UPLOAD_TIMEOUT_S = 0.3
DISPOSITION = b'Content-Disposition: form-data; name="file"; filename="a.png"'
# Of the server, for bytes that are no request at all, by status.
NOT_HTTP = {
    400: {b"Invalid HTTP request received.", b"Send chunks of 256 bytes and more."},
    431: {b"Send less than 16 KiB of headers and URL."},
    501: {b"Send a body with its Content-Length, or with Transfer-Encoding: chunked."},
}
GOLDEN_EVERY = 20
LONGEST_BOUNDARY = b"a" * 60 + b"'()+_,-./:=?"[:10]


@pytest.fixture(scope="module")
def watch(start_service: Callable[..., Service]) -> Iterator[Watch]:
    with start_service(XPRO_UPLOAD_TIMEOUT_S=str(UPLOAD_TIMEOUT_S)) as service:
        watching = Watch(service, GOLDEN)
        yield watching
        print(f"outcomes: {dict(watching.outcomes.most_common())}")


class Form(NamedTuple):
    """A multipart body in its parts, each of which may be wrong."""

    boundary: bytes = b"x"
    preamble: bytes = b""
    parts: tuple[tuple[bytes, bytes], ...] = ((DISPOSITION, GOLDEN),)
    newline: bytes = b"\r\n"
    end: bytes = b"--\r\n"

    def encode(self) -> bytes:
        line, delimiter = self.newline, b"--" + self.boundary
        body = self.preamble
        for headers, content in self.parts:
            body += delimiter + line + headers + line + line + content + line
        return body + delimiter + self.end


def head(*headers: bytes) -> bytes:
    lines = (b"POST /predict HTTP/1.1", b"Host: localhost", b"Connection: close", *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def content_type(boundary: bytes = b"x", more: bytes = b"") -> bytes:
    return b"Content-Type: multipart/form-data; boundary=" + boundary + more


def length(body: bytes, add: int = 0) -> bytes:
    return b"Content-Length: %d" % (len(body) + add)


def send(watch: Watch, form: Form, *headers: bytes) -> tuple[int, dict[str, object]]:
    body = form.encode()
    status, text = post_raw(
        watch.service.url, head(*(headers or (content_type(form.boundary),)), length(body)) + body
    )
    return status, json.loads(text)


GOOD = {
    "as browsers send it": (Form(), ()),
    "a quoted boundary": (Form(), (content_type(b'"x"'),)),
    "the longest boundary": (
        Form(boundary=LONGEST_BOUNDARY),
        (content_type(b'"' + LONGEST_BOUNDARY + b'"'),),
    ),
    "an epilogue": (Form(end=b"--\r\nThe end."), ()),
    "no newline at the end": (Form(end=b"--"), ()),
    "a newline before the first boundary": (Form(preamble=b"\r\n"), ()),
    "headers of the part in another order": (
        Form(parts=((b"Content-Type: image/png\r\n" + DISPOSITION, GOLDEN),)),
        (),
    ),
    "header names in capitals": (Form(parts=((DISPOSITION.upper(), GOLDEN),)), ()),
    "a file name in two forms": (
        Form(parts=((DISPOSITION + b"; filename*=UTF-8''%e2%82%ac.png", GOLDEN),)),
        (),
    ),
    "a path as file name": (
        Form(parts=((DISPOSITION.replace(b"a.png", b"../../etc/passwd"), GOLDEN),)),
        (),
    ),
    "another charset": (Form(), (content_type(more=b"; charset=iso-8859-15"),)),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_the_standards_allow_is_answered(watch, name):
    form, headers = GOOD[name]
    if name == "header names in capitals":  # the values keep their case
        form = Form(parts=((b"CONTENT-DISPOSITION" + DISPOSITION[19:], GOLDEN),))
    assert send(watch, form, *headers)[0] == 200


def test_a_body_in_chunks_of_one_byte_is_answered(watch):
    body = Form(parts=((DISPOSITION, GOLDEN[:200]),)).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    request = head(content_type(), b"Transfer-Encoding: chunked") + chunks
    status, text = post_raw(watch.service.url, request)
    assert (status, json.loads(text)["code"]) == (422, "damaged_file")


def test_text_before_the_first_boundary_is_refused_and_named(watch):
    status, problem = send(watch, Form(preamble=b"This is a form.\r\n"))
    assert (status, problem["code"]) == (400, "malformed_multipart")
    assert "boundary" in problem["detail"]


@pytest.mark.parametrize("line", [b"\r\n--xy", b"\r\n--x" + b" " * 1000, b"\r\n--x\ry"])
@pytest.mark.parametrize("piece", [7, 4000])
def test_a_line_that_begins_with_the_boundary_ends_the_request_at_once(watch, line, piece):
    """The parser would take each for data, byte by byte: seconds for a large file."""
    form = Form(parts=((DISPOSITION, line * 3),))
    request = head(content_type()).removesuffix(b"\r\n") + in_chunks(form, piece)
    status, body = post_raw(watch.service.url, request)
    assert (status, json.loads(body)["code"]) == (400, "malformed_multipart")


def test_charsets_that_do_not_exist_are_not_kept_in_memory(watch):
    process = psutil.Process(watch.service.process.pid)

    def send_many() -> int:
        for number in range(500):
            send(watch, Form(), content_type(more=b"; charset=%015000d" % number))
        return process.memory_info().rss

    before = send_many()
    assert send_many() - before < 3 * 2**20  # they would be 7.5 MB


def test_a_file_name_in_the_extended_form_only_is_refused_and_named(watch):
    """RFC 7578, section 4.2, forbids it."""
    part = b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''a.png"
    status, problem = send(watch, Form(parts=((part, GOLDEN),)))
    assert (status, problem["code"]) == (400, "unexpected_part")
    assert "filename=" in problem["detail"]


@pytest.mark.parametrize("media_type", [b"text/plain", b"multipart/form-data"])
def test_a_body_that_stops_being_http_is_no_failure_of_the_service(watch, media_type):
    """The server answers by itself while the application answers, too."""
    chunked = head(b"Content-Type: " + media_type, b"Transfer-Encoding: chunked") + b"no number\r\n"
    assert exchange(watch.service, chunked)[0] == 400
    watch.check_unharmed()


odd = st.binary(max_size=40)
boundaries = st.sampled_from(
    [
        b"x",
        b"",
        b"-",
        b"--",
        b"\r\n",
        b'"',
        b"x y",
        b"x;y",
        b"\xff\xfe",
        b"x" * 300,
        LONGEST_BOUNDARY,
    ]
)
dispositions = st.sampled_from(
    [
        DISPOSITION,
        b"Content-Disposition: form-data; name=file; filename=a",
        b'Content-Disposition: form-data; name="file"',
        b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''a.png",
        b"Content-Disposition: form-data; name*=UTF-8''file; filename=\"a\"",
        b'Content-Disposition: form-data; name="file"; filename="a"; filename="b"',
        b'Content-Disposition: form-data;\r\n name="file"; filename="a"',
        b'Content-Disposition: form-data; name="file"; filename="\xff\x00\n"',
        b'Content-Disposition: form-data; name="fi\\"le"; filename="' + b"a" * 9000 + b'"',
        b"Content-Disposition: attachment",
        b"Content-Disposition:",
        b"Content-Disposition: ;;;=;name==;" + b";" * 2000,
        DISPOSITION + b"\r\n" + DISPOSITION,
        DISPOSITION + b"\r\nContent-Transfer-Encoding: base64",
        DISPOSITION + b"\r\nContent-Type: multipart/mixed; boundary=x",
        DISPOSITION + b"".join(b"\r\nX-%d: y" % number for number in range(100)),
        b": no name",
        b"",
    ]
)
contents = st.sampled_from(
    [GOLDEN, GOLDEN[:100], b"", b"--x\r\n", b"\r\n--x--\r\n", b"\0" * 70_000]
)
parts = st.tuples(dispositions | odd, contents | odd)
forms = st.just(Form()) | st.builds(
    Form,
    boundary=st.just(b"x") | boundaries,
    preamble=st.sampled_from([b"", b"\r\n", b"text\r\n", b"--x"]) | odd,
    parts=st.lists(parts, max_size=3).map(tuple) | st.just(Form().parts),
    newline=st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b" \r\n"]),
    end=st.sampled_from(
        [b"--\r\n", b"--", b"", b"\r\n", b"-", b"--x--epilogue", b"--\r\n--x\r\n\r\n"]
    ),
)
types = st.sampled_from(
    [
        b"",
        b"Content-Type: multipart/form-data",
        b"Content-Type: multipart/form-data; boundary",
        b"Content-Type: multipart/mixed; boundary=x",
        b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Type:multipart/form-data;boundary=x;boundary=y",
        b"Content-Type: multipart/form-data; boundary=x\r\nContent-Type: text/plain",
        b"Content-Type: multipart/form-data;\r\n boundary=x",
        b"Content-Type: multipart/form-data; boundary*=UTF-8''x",
        b"Content-Type: multipart/form-data; boundary=x; charset=\xff\x00",
        b"Content-Type: multipart/form-data; boundary=x; charset=undefined",
        b"Content-Type: multipart/form-data; boundary=x; charset=rot13",
        b"Content-Type: MULTIPART/FORM-DATA; BOUNDARY=x",
    ]
)
kinds = st.just(content_type()) | st.just(content_type()) | boundaries.map(content_type) | types
extras = st.sampled_from(
    [
        b"X-Folded: a\r\n b",
        b"Expect: 100-continue",
        b"Content-Encoding: gzip",
        b"Upgrade: h2c",
        b"Accept: nothing/at-all",
        b"X-\xff: \xff",
        b"X: \0",
        b"Host: 127.0.0.1",
        b"Cookie: " + b"a" * 5000,
        b"Range: bytes=0-1",
    ]
)


class Raw(bytes):
    """Bytes whose beginning alone is printed where a test fails."""

    def __repr__(self) -> str:
        return f"{bytes(self[:400])!r} of {len(self)} bytes"


def as_sent(form: Form) -> bytes:
    return length(form.encode()) + b"\r\n\r\n" + form.encode()


def in_chunks(form: Form, size: int, *, extension: bytes = b"") -> bytes:
    body = form.encode()
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in pieces)
    return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def with_a_lie(form: Form, lie: bytes) -> bytes:
    return lie + b"\r\n\r\n" + form.encode()


lies = st.sampled_from(
    [
        b"Content-Length: 0",
        b"Content-Length: 10",
        b"Content-Length: 9999999",
        b"Content-Length: 99999999999999999999999",
        b"Content-Length: -1",
        b"Content-Length: +5",
        b"Content-Length: 0x10",
        b"Content-Length: 1e3",
        "Content-Length: ٣".encode(),
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5;" + b"a" * 20_000 + b"\r\n",
        b"X: no length at all",
    ]
)
bodies = (
    forms.map(as_sent)
    | st.builds(in_chunks, forms, st.sampled_from([50, 1000, 100_000]))
    | st.builds(in_chunks, forms, st.just(5000), extension=st.sampled_from([b";a=b", b" "]))
    | st.builds(with_a_lie, forms, lies)
).map(Raw)


def test_every_request_whatever_it_is_gets_an_answer_of_the_interface(watch, cases):
    @settings(
        max_examples=cases(400, 5_000),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(kind=kinds, extra=st.just(()) | st.tuples(extras), rest=bodies)
    def attack(kind, extra, rest):
        headers = [line for line in (kind, *extra) if line]
        status, kind, content = exchange(watch.service, head(*headers)[:-2] + rest)
        if kind.startswith("text/plain"):
            assert content in NOT_HTTP[status]
            watch.outcomes["no HTTP"] += 1
        else:
            watch.check(status, kind, content)
        if watch.outcomes.total() % GOLDEN_EVERY == 0:
            watch.check_unharmed()

    attack()
    assert watch.outcomes["answered"] > 20, "hardly a request is well-formed"


def exchange(service: Service, request: bytes) -> tuple[int, str, bytes]:
    """Send bytes and return status, media type and body of the answer."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as connection,
        http.client.HTTPResponse(connection, method="POST") as answer,
    ):
        connection.sendall(request)
        answer.begin()
        return answer.status, answer.headers["content-type"], answer.read()
