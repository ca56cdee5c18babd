"""Nothing that a client sends reaches a log, a temporary file or an answer."""

import io
import json
import re

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
        files = [path for path in temporary.rglob("*") if path.is_file()]
        assert not [path for path in files if CANARY.encode() in path.read_bytes()]
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


def test_an_upload_is_held_in_memory_and_written_to_no_disk(start_service):
    with start_service() as service:
        process = psutil.Process(service.process.pid)
        before = process.io_counters().write_bytes
        service.predict(b"\x89PNG\r\n\x1a\n" + bytes(20_000_000))
        assert process.io_counters().write_bytes - before < 100_000
