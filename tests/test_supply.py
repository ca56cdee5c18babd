"""Bill of materials and audit of what is locked; the audit against a source of our own."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from supply.audit import judge, read_locked
from tests.conftest import ROOT

SERVICE = ROOT / "requirements" / "service.txt"
LOCKED = read_locked([SERVICE])
CANARY = ("idna", "3.6")


def report_on(packages, **more) -> dict:
    found = [{"name": name, "version": version, "vulns": []} for name, version in packages]
    return {"dependencies": [*found, *more.get("also", [])]}


def test_every_locked_package_is_found_in_the_file():
    assert len(LOCKED) == SERVICE.read_text().count("==")
    assert "fastapi" in dict(LOCKED)


@pytest.mark.parametrize(
    "wanted", sorted((ROOT / "requirements").glob("*.in")), ids=lambda p: p.stem
)
def test_what_is_wanted_is_locked_with_hashes_and_names_no_index(wanted):
    text = wanted.with_suffix(".txt").read_text()
    packages = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)
    assert len(packages) > 1
    assert all("--hash=sha256:" in package for package in packages[1:])
    assert "://" not in text
    assert "index-url" not in text


def test_a_report_on_everything_without_vulnerabilities_passes():
    assert judge(report_on(LOCKED), LOCKED) == []


@pytest.mark.parametrize("packages", [set(), set(sorted(LOCKED)[1:])])
def test_a_package_that_was_not_audited_fails(packages):
    assert len(judge(report_on(packages), LOCKED)) == len(LOCKED) - len(packages)


def test_a_package_that_was_skipped_or_audited_in_another_version_fails():
    package = ("idna", "3.7")
    skipped = {"name": "idna", "skip_reason": "not found"}
    assert judge({"dependencies": [skipped]}, {package}) == ["idna 3.7: not audited"]
    assert judge(report_on([("idna", "3.8")]), {package}) == ["idna 3.7: not audited"]


def test_files_that_lock_nothing_fail():
    assert judge(report_on([]), set())


@contextmanager
def advisories(vulnerable: set[tuple[str, str]]) -> Iterator[str]:
    """A source of vulnerabilities in the form of osv.dev, which knows of these packages."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            package, version = asked["package"], asked["version"]
            affected = [{"package": package, "versions": [version]}]
            known = {"id": "PYSEC-0000-1", "summary": "for this test", "affected": affected}
            answer = {"vulns": [known]} if (package["name"], version) in vulnerable else {}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def audit(url: str) -> subprocess.CompletedProcess[str]:
    source = ["--", "--vulnerability-service", "osv", "--osv-url", url]
    command = [sys.executable, "-m", "supply.audit", str(SERVICE), *source]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def test_an_audit_that_finds_nothing_passes_and_says_how_much_it_audited():
    with advisories({CANARY}) as url:
        done = audit(url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{len(LOCKED)} packages audited")


def test_an_audit_names_the_package_with_a_known_vulnerability():
    package = ("fastapi", dict(LOCKED)["fastapi"])
    with advisories({CANARY, package}) as url:
        done = audit(url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{' '.join(package)}: PYSEC-0000-1")


def test_a_source_that_knows_no_vulnerability_at_all_fails():
    with advisories(set()) as url:
        done = audit(url)
    assert done.returncode == 2
    assert "nothing was audited" in done.stderr


def test_a_source_that_cannot_be_reached_fails():
    with advisories({CANARY}) as url:
        pass
    done = audit(url)
    assert done.returncode == 2
    assert "nothing was audited" in done.stderr


def test_the_bill_of_materials_names_every_locked_package_with_its_hashes(tmp_path):
    target = tmp_path / "sbom.json"
    recipe = (ROOT / "Makefile").read_text()
    options = re.search(r"cyclonedx_py (.+?) --output-file", recipe.replace("\\\n", " ")).group(1)
    command = [sys.executable, "-m", "cyclonedx_py", *options.split(), "--output-file", str(target)]
    subprocess.run(command, cwd=ROOT, check=True)
    bill = json.loads(target.read_text())
    assert {(part["name"], part["version"]) for part in bill["components"]} == LOCKED
    for part in bill["components"]:
        assert any(reference.get("hashes") for reference in part["externalReferences"])
    assert bill["metadata"]["component"]["name"] == "x-pro"
