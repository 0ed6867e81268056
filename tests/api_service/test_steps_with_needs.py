import pytest

from shared.catalogue import StepOffer
from shared.stages import Stage

NEEDY = StepOffer(
    name="needy",
    description="Wants to be told how often.",
    stage=Stage.PROCESS,
    version=1,
    cacheable=True,
    params={
        "type": "object",
        "properties": {"times": {"type": "integer", "minimum": 1}},
        "required": ["times"],
        "additionalProperties": False,
    },
)


@pytest.fixture
def needy(stores, offers):
    stores.catalogue.announce([NEEDY], [])


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": [{"step": "needy", "params": {"times": 2}}]},
        {"steps": [{"step": "needy"}], "params": {"needy": {"times": 2}}},
        {"steps": [{"step": "needy", "params": {"times": 0}}], "params": {"needy": {"times": 2}}},
    ],
)
def test_a_param_that_must_be_given_may_be_given_in_either_place(client, needy, photo, fields):
    accepted = client.submit(photo, **fields)

    assert accepted.status_code == 202
    assert accepted.json["steps"] == [{"step": "needy", "params": {"times": 2}}]


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"steps": [{"step": "needy"}]}, "/steps/0/params/times: Field required"),
        ({"steps": [{"step": "needy", "params": {"times": 0}}]}, "/steps/0/params/times: 0 is less than"),
        (
            {"steps": [{"step": "needy"}], "params": {"needy": {"times": 0}}},
            "/params/needy/times: 0 is less than",
        ),
    ],
)
def test_what_is_wrong_is_said_where_it_was_given(client, needy, photo, fields, detail):
    answer = client.submit(photo, **fields)

    assert answer.status_code == 422
    assert answer.json["detail"].startswith(detail)
