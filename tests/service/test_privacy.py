"""Nothing that a client sends reaches a log, a temporary file or an answer."""

import contextlib
import io
import json
import re
import socket
import time
from pathlib import Path

import numpy as np
import psutil
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

CANARY = "CANARY7Q3"


def dicom_with_canaries(damaged: bool) -> bytes:
    """A radiograph with the canary in every text attribute that does not decide its pixels."""
    dataset = Dataset()
    for keyword in (
        "PatientName",
        "PatientID",
        "StudyDescription",
        "InstitutionName",
        "ReferringPhysicianName",
        "AccessionNumber",
        "PatientComments",
        "ImageComments",
        "BodyPartExamined",
        "ViewPosition",
        "StationName",
    ):
        setattr(dataset, keyword, CANARY)
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.Modality = CANARY if damaged else "DX"
    dataset.Rows = dataset.Columns = 200
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = np.random.default_rng(0).integers(0, 256, 40_000, np.uint8).tobytes()
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationVersionName = CANARY
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def test_no_value_of_a_file_name_header_query_or_path_reaches_the_log(start_service, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with start_service(TMPDIR=str(temporary)) as service:
        for damaged, status in ((False, 200), (True, 422)):
            answer = service.client.post(
                f"/predict?note={CANARY}",
                files={"file": (f"{CANARY}.dcm", dicom_with_canaries(damaged), f"x/{CANARY}")},
                headers={"x-request-id": CANARY, "user-agent": CANARY, "referer": CANARY},
            )
            assert answer.status_code == status
            assert CANARY not in answer.text + str(answer.headers)
        assert CANARY not in service.client.get(f"/{CANARY}").text
        assert CANARY not in service.client.request(CANARY, "/predict").text
        assert service.predict(CANARY.encode()).status_code == 415
        service.client.post("/predict", files={CANARY: (CANARY, b"x")})
        big = service.predict(b"\x89PNG\r\n\x1a\n" + CANARY.encode() * 1_000_000)
        assert big.status_code == 422
        assert not [path for path in temporary.rglob("*") if path.is_file()]
        assert service.log()
        assert CANARY not in service.log()


def test_every_log_line_is_json_and_a_request_has_exactly_one(start_service, png):
    with start_service() as service:
        request_id = service.predict(png).json()["request_id"]
        service.terminate()
        service.process.wait(20)
        lines = [json.loads(line) for line in service.log().splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == request_id]
    assert line["event"] == "request"
    assert (line["route"], line["status"], line["code"]) == ("/predict", 200, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["time"])


def test_an_upload_is_held_in_memory_and_in_no_file(start_service):
    with start_service() as service:
        descriptors = Path(f"/proc/{service.process.pid}/fd")
        resident = psutil.Process(service.process.pid).memory_info
        before, memory = regular_files(descriptors), resident().rss
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as upload:
            upload.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000000\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
                b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
                + bytes(20_000_000)
            )
            deadline = time.monotonic() + 10
            while resident().rss < memory + 15_000_000:  # until most of it has arrived
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert regular_files(descriptors) == before


def regular_files(descriptors: Path) -> set[str]:
    """Files that a process holds open, deleted ones too; not sockets, pipes and devices."""
    targets = set()
    for descriptor in descriptors.iterdir():
        with contextlib.suppress(FileNotFoundError):
            targets.add(str(descriptor.readlink()))
    return {target for target in targets if target.startswith("/") and "/dev/" not in target}
