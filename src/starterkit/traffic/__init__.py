"""Requests to a running API: some, to see that it answers, or as many as it takes, to see how it bears them."""

from starterkit.traffic.load import Held, LoadTest, Measured, held_against
from starterkit.traffic.sender import Sent, TrafficSender, address_of, in_address
from starterkit.traffic.usage import can_measure

__all__ = [
    "Held",
    "LoadTest",
    "Measured",
    "Sent",
    "TrafficSender",
    "address_of",
    "can_measure",
    "held_against",
    "in_address",
]
