"""A running service under attack: what every answer and every moment after it must fulfil."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil

from service.schemas import Prediction, Problem
from tests.conftest import Service

CLIENTS = 4
PATHS = ("/predict", "/radiograph", "/explain?finding=Effusion", "/predict?maps=true")
DECODER_DIED = {"decode_crashed", "decode_timeout"}
# What an exception or a path of the code would leave in an answer.
_LEAK = re.compile(r'Traceback|File "|\.py\b|site-packages|\w+(Error|Exception)\b|0x[0-9a-f]{6}')
_UNEXPECTED = re.compile(r'"event": "failure"|"error":|Traceback|^[^{]')


def assert_no_leak(text: str) -> None:
    """No exception, code line, path or address of memory may stand in an answer."""
    assert not _LEAK.search(text), text


class Watch:
    """Sends files to a service and holds it to its word.

    `golden`: a file whose answer must stay the same to the last bit, whatever came before it.
    """

    def __init__(self, service: Service, golden: bytes) -> None:
        self.service = service
        self.outcomes: Counter[str] = Counter()
        self._golden = golden
        self._answer = self._golden_answer()
        self._processes = self.permanent_processes()
        document = service.client.get("/openapi.json").json()
        self._declared = {
            path: {
                status: set(
                    answer["content"].get("application/problem+json", {}).get("examples", ())
                )
                for status, answer in operations["post"]["responses"].items()
            }
            for path, operations in document["paths"].items()
            if "post" in operations
        }

    def permanent_processes(self) -> set[int]:
        """The processes that must never die: all but the decoders, which are grandchildren."""
        root = psutil.Process(self.service.process.pid)
        return {root.pid, *(child.pid for child in root.children())}

    def post(self, file: bytes, path: str = "/predict") -> httpx.Response:
        """Post a file and check the answer; after a decoder's death everything else as well."""
        answer = self.service.client.post(path, files={"file": ("image", file)})
        kind = answer.headers["content-type"]
        outcome = self.check(answer.status_code, kind, answer.content, path)
        if outcome in DECODER_DIED:
            self.check_unharmed()
        return answer

    def post_all(self, make: Callable[[int], bytes], seeds: Iterable[int]) -> None:
        """Post one file for each seed, several at a time, and name the seed that fails."""

        def one(seed: int) -> None:
            try:
                self.post(make(seed), PATHS[seed % len(PATHS)])
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error}") from error

        with ThreadPoolExecutor(CLIENTS) as clients:
            for _ in clients.map(one, seeds):
                pass
        self.check_unharmed()

    def check(self, status: int, kind: str, content: bytes, path: str = "/predict") -> str:
        """Hold one answer against the document of the interface; returns its outcome's name."""
        declared = self._declared[path.partition("?")[0]]
        assert str(status) in declared, f"undeclared {status}: {content[:500]}"
        assert status < 500, content[:500]
        outcome = "answered"
        if kind == "image/png":
            assert content.startswith(b"\x89PNG\r\n\x1a\n")
        elif status == 200:
            Prediction.model_validate_json(content, strict=True)
        else:
            assert kind == "application/problem+json"
            outcome = Problem.model_validate_json(content, strict=True).code
            assert outcome in declared[str(status)], f"undeclared code {outcome}"
            assert_no_leak(content.decode())
        self.outcomes[outcome] += 1
        return outcome

    def check_unharmed(self) -> None:
        """The same processes run, nothing unexpected was logged, the golden answer is the same."""
        assert self._golden_answer() == self._answer, "the golden answer changed"
        assert self.permanent_processes() == self._processes, "a process was replaced"
        unexpected = [line for line in self.service.log().splitlines() if _UNEXPECTED.search(line)]
        assert not unexpected, unexpected[0]

    def _golden_answer(self) -> str:
        answer = self.service.predict(self._golden, maps="true")
        assert answer.status_code == 200, answer.text
        return json.dumps({**answer.json(), "request_id": ""})
