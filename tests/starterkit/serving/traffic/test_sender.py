"""Requests over real HTTP to a server that notes them and answers as it is told."""

import time

import pytest

from starterkit.errors import KitError, UserError
from starterkit.progress import Event
from starterkit.serving.loadtest import TrafficSender, address_of
from starterkit.settings import ServingSettings

RECORDS = [{"bmi": 20.5, "sex": 1}, {"bmi": None, "sex": 2}]


def test_records_are_sent_in_turn_each_in_a_request_of_its_own_at_the_rate(api):
    sent = TrafficSender(api.address).send(RECORDS, count=3, rate=1000)
    bodies = [body for _, body in api.received]
    assert bodies == [{"records": [RECORDS[0]]}, {"records": [RECORDS[1]]}, {"records": [RECORDS[0]]}]
    assert (sent.answered, sent.refused, sent.why) == (3, 0, "")
    assert 0 < sent.median_ms <= sent.p95_ms
    sent.require_answers()
    began = time.monotonic()
    TrafficSender(api.address).send(RECORDS, count=6, rate=20)
    assert time.monotonic() - began >= 5 / 20


@pytest.mark.parametrize("key", ["a-key-of-sixteen-letters", "schlüssel-0123456789", "ключ-0123456789-ключ"])
def test_the_key_is_sent_where_there_is_one_and_as_the_api_compares_it(api, key):
    assert TrafficSender(api.address, key).send(RECORDS, 1, 1000).answered == 1
    TrafficSender(api.address).send(RECORDS, 1, 1000)
    (given, none) = (key for key, _ in api.received)
    assert (given.encode("latin-1"), none) == (key.encode(), None)  # headers are read as Latin-1


def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(api):
    with pytest.raises(UserError, match="control character") as refused:
        TrafficSender(api.address, "0123456789\n0123456789")
    assert "0123456789" not in str(refused.value)


def test_a_slow_rate_does_not_meet_a_connection_that_the_api_closed(api):
    api.RequestHandlerClass = type("Impatient", (api.RequestHandlerClass,), {"timeout": 0.5})
    sent = TrafficSender(api.address).send(RECORDS, count=2, rate=0.5)
    assert (sent.answered, sent.why) == (2, "")


def test_refusals_are_counted_and_a_connection_that_is_lost_is_opened_again(api):
    api.statuses = [200, 422, 500, 200]
    sent = TrafficSender(api.address).send(RECORDS, 5, 1000)
    assert str(sent).startswith("3 answered, 2 refused; median ")
    with pytest.raises(KitError, match=r"^2 of 5 requests were refused: 422: row 0: is below 10\.$"):
        sent.require_answers()
    api.statuses = [200, 0, 200]
    sent = TrafficSender(api.address).send(RECORDS, 3, 1000)
    assert (sent.answered, sent.refused) == (2, 1)
    assert "closed" in sent.why
    api.statuses = [401]
    assert str(TrafficSender(api.address).send(RECORDS, 2, 1000)) == "0 answered, 2 refused"  # without a latency


def test_it_waits_until_the_api_is_ready_but_not_for_ever(api):
    api.looks_before_ready = 2
    events = list[Event]()
    TrafficSender(api.address, progress=events.append).wait_until_ready(10)
    assert api.looks_before_ready == -1
    assert "503: no model is loaded" in events[1].note
    with pytest.raises(KitError, match=r"127.0.0.1:9 is not ready after 0.3 s: Connection refused"):
        TrafficSender("http://127.0.0.1:9").wait_until_ready(0.3)


@pytest.mark.parametrize(
    "address", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:port", "http://a..b", "http://127.0.0.1/ü"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UserError, match="is no address of an API"):
        TrafficSender(address)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("::", "http://[::1]:8000"),
    ],
)
def test_the_address_of_the_settings_can_be_met(host, address):
    assert address_of(ServingSettings.model_validate({"host": host})) == address
