"""Requests to a running API, as its clients send them: to see it answer, and to have something in its log."""

from starterkit.traffic.sender import Sent, TrafficSender, address_of

__all__ = ["Sent", "TrafficSender", "address_of"]
