"""What a stranger's web page could try: names that lead here, other origins, frames."""

import pytest

from tests.conftest import post_raw
from tests.service.test_problems import assert_problem


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:1", "10.0.0.7", "[::1]:8000"]
)
def test_addresses_and_localhost_are_answered(service, host):
    assert service.client.get("/health", headers={"Host": host}).status_code == 200


def test_an_old_probe_that_names_no_host_is_answered(service):
    assert post_raw(service.url, b"GET /health HTTP/1.0\r\n\r\n")[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "", ":80"]
)
def test_a_name_that_was_made_to_lead_here_is_refused(service, host):
    answer = service.client.get("/model", headers={"Host": host})
    assert_problem(answer, 421, "unknown_host")
    assert service.client.get("/", headers={"Host": host}).status_code == 421


def test_names_of_ones_own_are_a_setting(start_service):
    with start_service(XPRO_ALLOWED_HOSTS="xpro.example, Other.example.") as service:
        for host, status in (("XPRO.example:443", 200), ("other.example", 200), ("x.example", 421)):
            assert service.client.get("/health", headers={"Host": host}).status_code == status
    with start_service(XPRO_ALLOWED_HOSTS="*") as service:
        assert service.client.get("/health", headers={"Host": "any.example"}).status_code == 200


def test_no_other_origin_may_read_an_answer_or_ask_for_leave(service, png):
    origin = {"Origin": "https://evil.example"}
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    answers = [
        service.client.post("/predict", files={"file": png}, headers=origin),
        service.client.options("/predict", headers=asked),
        service.client.get("/model", headers=origin),
    ]
    assert answers[1].status_code == 403
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_another_sites_page_cannot_even_have_work_done(service, png):
    sites = {"cross-site": 403, "same-site": 403, "same-origin": 200, "none": 200}
    for site, status in sites.items():
        headers = {"Sec-Fetch-Site": site}
        answer = service.client.post("/predict", files={"file": png}, headers=headers)
        assert answer.status_code == status
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert_problem(service.client.get("/model", headers=foreign), 403, "foreign_page")
    assert service.client.get("/", headers=foreign).status_code == 200  # a link to the page
    neighbour = {"Sec-Fetch-Site": "same-site"}
    assert service.client.get("/model", headers=neighbour).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("0.0.0.0:8000", "http://evil.example", 403),
        ("0.0.0.0:8000", "null", 403),
        ("10.0.0.7:8000", "http://10.0.0.7:8001", 403),
        ("10.0.0.7:8000", "http://10.0.0.7:8000", 200),
        ("LocalHost", "https://localhost", 200),
    ],
)
def test_where_browsers_name_only_the_origin_it_must_be_ours(service, png, host, origin, status):
    """They send Sec-Fetch-Site over TLS and to loopback addresses alone."""
    headers = {"Host": host, "Origin": origin}
    answer = service.client.post("/predict", files={"file": png}, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "foreign_page"


@pytest.mark.parametrize("path", ["/", "/docs", "/model", "/health", "/nothing", "/openapi.json"])
def test_every_answer_carries_the_headers_that_browsers_heed(service, path):
    headers = service.client.get(path).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers.get_list("content-security-policy", split_commas=True) == [
        headers["content-security-policy"]
    ]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "camera=()" in headers["permissions-policy"]
    assert "strict-transport-security" not in headers
    assert "server" not in headers


def test_what_a_client_claims_to_have_been_forwarded_changes_nothing(service):
    claims = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    answer = service.client.get("/health", headers=claims)
    assert answer.status_code == 200
    assert "strict-transport-security" not in answer.headers


def test_headers_beyond_16_kib_are_refused(service):
    answer = service.client.get("/health", headers={f"X-{n}": "x" * 1000 for n in range(17)})
    assert answer.status_code == 431
    assert service.client.get("/health", headers={"X": "x" * 10_000}).status_code == 200
    assert service.client.get("/health?" + "x" * 40_000).status_code == 431
