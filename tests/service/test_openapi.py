"""The document of the interface."""

from contract.errors import InputError
from contract.findings import FINDINGS
from service import openapi
from service.decode_errors import DecodeCrashed, DecodeMemory, DecodeTimeout
from service.schemas import Health, Prediction, Problem


def test_the_committed_document_is_what_the_code_says():
    assert openapi.TARGET.read_text() == openapi.render(), "run: make openapi"


def test_generators_of_clients_see_a_file_and_every_answer_its_request_id(service):
    document = service.client.get("/openapi.json").json()
    form = document["paths"]["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]
    # Without it they send a field without filename=, which is refused.
    assert form["schema"]["properties"]["file"]["format"] == "binary"
    for operations in document["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                assert "X-Request-ID" in answer["headers"]


def test_an_answer_fits_the_documented_schema_to_the_letter(service, png):
    for maps in ("false", "true"):
        answer = service.predict(png, maps=maps).json()
        assert (
            Prediction.model_validate(answer, strict=True).model_dump(exclude_unset=True) == answer
        )


def test_the_example_of_an_answer_fits_the_schema_and_its_order(service, png):
    schema = service.client.get("/openapi.json").json()["components"]["schemas"]["Prediction"]
    fields = ("probabilities", "findings", "activation_maps")
    examples = {name: schema["properties"][name]["examples"][0] for name in fields}
    assert list(examples["probabilities"]) == list(examples["activation_maps"]) == list(FINDINGS)
    assert [one["finding"] for one in examples["findings"]] == list(FINDINGS)
    answer = {**service.predict(png).json(), **examples}
    assert Prediction.model_validate(answer, strict=True).model_dump() == answer


def test_health_and_problems_fit_their_schemas(service):
    Health.model_validate(service.client.get("/health").json())
    Problem.model_validate(service.predict(b"text").json())


def test_every_code_of_a_refused_file_is_documented(service):
    document = service.client.get("/openapi.json").json()
    responses = document["paths"]["/predict"]["post"]["responses"]
    examples = [
        code
        for response in responses.values()
        for code in response["content"].get("application/problem+json", {}).get("examples", ())
    ]

    def leaves(kind):
        narrower = kind.__subclasses__()
        return [leaf for each in narrower for leaf in leaves(each)] if narrower else [kind]

    assert {DecodeCrashed, DecodeMemory, DecodeTimeout} <= set(leaves(InputError))
    for kind in leaves(InputError):
        assert kind.code in examples


def test_the_body_is_documented_as_one_file(service):
    document = service.client.get("/openapi.json").json()
    body = document["paths"]["/predict"]["post"]["requestBody"]
    schema = body["content"]["multipart/form-data"]["schema"]
    assert body["required"]
    assert (list(schema["properties"]), schema["required"]) == (["file"], ["file"])
