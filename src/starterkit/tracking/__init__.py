"""The one adapter through which runs, data sets, figures and models reach MLflow."""

from starterkit.tracking.connection import Connection, ask_version, connect, local_store
from starterkit.tracking.failures import explained
from starterkit.tracking.holders import owner_of
from starterkit.tracking.identity import authenticated_user
from starterkit.tracking.liveness import TAG as PROCESS
from starterkit.tracking.liveness import state_of, this_process
from starterkit.tracking.local_store import LocalStore
from starterkit.tracking.looking_up import RunRecord, fetch_file, fetch_model, keep_files, look_up, runs_page
from starterkit.tracking.notes import describe_experiment, describe_run
from starterkit.tracking.receiver import Receiver, SentRun
from starterkit.tracking.round_trip import check_round_trip
from starterkit.tracking.tracker import Example, OpenRun, Run, Tracker

__all__ = [
    "PROCESS",
    "Connection",
    "Example",
    "LocalStore",
    "OpenRun",
    "Receiver",
    "Run",
    "RunRecord",
    "SentRun",
    "Tracker",
    "ask_version",
    "authenticated_user",
    "check_round_trip",
    "connect",
    "describe_experiment",
    "describe_run",
    "explained",
    "fetch_file",
    "fetch_model",
    "keep_files",
    "local_store",
    "look_up",
    "owner_of",
    "runs_page",
    "state_of",
    "this_process",
]
