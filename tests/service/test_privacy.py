"""Nothing that a client sends reaches a log, a temporary file or an answer."""

import contextlib
import io
import json
import re
import socket
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import pydicom
import pytest
from pydicom import dcmwrite
from pydicom._dicom_dict import DicomDictionary
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


# What decides whether and how the pixels are read; the one that is refused has canaries there too.
DECIDING = {
    "SpecificCharacterSet",
    "SOPClassUID",
    "Modality",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "VOILUTFunction",
    "PresentationLUTShape",
    "RescaleIntercept",
    "RescaleSlope",
    "WindowCenter",
    "WindowWidth",
}


def canary_of(tag: int, vr: str) -> object | None:
    """A value of its own for an element, as its representation allows; None for binary ones."""
    if vr in ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"):
        return f"C7Q3{tag:08X}"
    number = 735_700_000 + tag % 99_991
    if vr in ("DS", "IS"):
        return str(number)
    if vr == "UI":
        return f"1.2.{number}"
    digits = str(number)
    return {
        "AS": f"{digits[-3:]}Y",
        "DA": f"17{int(digits[-2:]) % 90 + 10}1231",
        "DT": f"17351231175703.{digits[-6:]}",
        "TM": f"175703.{digits[-6:]}",
    }.get(vr)


def dicom_full_of_canaries(spared: set[str]) -> tuple[bytes, set[str]]:
    """A radiograph with a value of its own in every element the standard names, and the values."""
    dataset, values = pydicom.dcmread(io.BytesIO(dicom_with_canaries(damaged=False))), set()
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        value = canary_of(tag, vr)
        if value is None or keyword in spared or tag < 0x0008_0000 or tag >= 0x7FE0_0000:
            continue
        dataset.add_new(tag, vr, value)
        values.add(str(value))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(buffer, dataset)
    return buffer.getvalue(), {value for value in values if len(value) > 4}


@pytest.mark.parametrize(("spared", "status"), [(DECIDING, 200), (set(), 422)])
def test_no_element_of_a_dicom_file_is_told_to_anyone(start_service, tmp_path, spared, status):
    data, values = dicom_full_of_canaries(spared)
    assert len(values) > 2000
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with start_service(TMPDIR=str(temporary)) as service:
        answers = [service.predict(data, maps="true")]
        assert answers[0].status_code == status, answers[0].text
        answers += [
            service.client.post(path, files={"file": data})
            for path in ("/radiograph", "/explain?finding=Mass")
        ]
        told = service.log() + service.client.get("/metrics").text
        told += "".join(f"{answer.headers} {answer.content!r}" for answer in answers)
        assert [value for value in values if value in told] == []
        assert not [path for path in temporary.rglob("*") if path.is_file()]


def test_no_header_is_told_to_anyone(service):
    names = ("Authorization", "Cookie", "Origin", "Forwarded", "X-Forwarded-For", "Accept")
    names += ("Accept-Language", "If-None-Match", "Range", "Traceparent", "X-Patient")
    for path in ("/health", "/model", f"/{CANARY}", "/predict"):
        headers = {**dict.fromkeys(names, f"Bearer {CANARY}"), "Content-Type": f"x/{CANARY}"}
        answer = service.client.post(path, headers=headers, content=CANARY.encode())
        assert CANARY not in f"{answer.headers} {answer.text}"
    refused = service.client.get("/health", headers={"Host": f"{CANARY}.example"})
    assert refused.status_code == 421
    assert CANARY not in refused.text
    assert CANARY not in service.log() + service.client.get("/metrics").text


def test_no_byte_of_a_body_that_is_no_form_reaches_the_log(start_service):
    """The parser of forms would quote the one where it gave up, in a line of its own."""
    headers = {"content-type": "multipart/form-data; boundary=x"}
    with start_service() as service:
        assert service.client.post("/predict", content=b"--~", headers=headers).status_code == 400
        service.terminate()
        service.process.wait(20)
        events = [json.loads(line)["event"] for line in service.log().splitlines()]
    assert set(events) <= {"ready", "request", "stopped"}


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
