"""The generated code is up to date, and field numbers are those that clients know."""

import subprocess
import sys
from pathlib import Path

import pytest

from grpc_server import locations_pb2 as pb
from tests.gunicorn_server import ROOT

GENERATED = ("locations_pb2.py", "locations_pb2.pyi", "locations_pb2_grpc.py")

# Only add fields: older clients must keep working.
NUMBERS = {
    "Location": "id person_id creation_time latitude longitude accuracy",
    "RecordLocationsRequest": "locations",
    "RecordLocationsResponse": "accepted refused stored",
    "Refusal": "index code faults",
    "Fault": "field reason",
    "GetLocationRequest": "id",
    "ListLocationsRequest": "person_id start end bounds limit after order look_ahead",
    "ListLocationsResponse": "locations",
    "Bounds": "west south east north",
    "LocationKey": "creation_time person_id",
    "FindConnectionsRequest": (
        "person_id start end distance_m within_s limit after look_ahead max_accuracy_m"
    ),
    "FindConnectionsResponse": "locations max_accuracy_m",
    "FindEncountersRequest": (
        "person_id start end distance_m within_s max_gap_s min_duration_s limit after plausible_only "
        "look_ahead max_accuracy_m"
    ),
    "FindEncountersResponse": "encounters plausible_only max_accuracy_m",
    "Encounter": "person_id start end duration_s pings min_distance_m latitude longitude nth",
    "EncounterKey": "start person_id nth",
    "ListDaysRequest": "person_id time_zone",
    "ListDaysResponse": "days",
    "Day": "day first last",
    "ListPositionsRequest": "at max_age_s bounds person_id",
    "ListPositionsResponse": "locations",
    "ListHeatRequest": "start end cell_m person_id",
    "ListHeatResponse": "cells",
    "HeatCell": "latitude longitude person_minutes people",
    "ListVisitsRequest": "areas start end max_gap_s min_duration_s person_id",
    "Area": "id polygon",
    "ListVisitsResponse": "areas",
    "AreaVisits": "area_id people visits person_seconds median_stay_s longest_stay_s",
}


def test_the_generated_code_agrees_with_the_proto(tmp_path: Path):
    places = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", *places, "grpc_server/locations.proto"],
        cwd=ROOT,
        check=True,
    )

    for name in GENERATED:
        new = (tmp_path / "grpc_server" / name).read_text()
        assert (ROOT / "grpc_server" / name).read_text() == new, "run `make proto`"


@pytest.mark.parametrize("message", NUMBERS)
def test_field_numbers_never_change(message: str):
    fields = pb.DESCRIPTOR.message_types_by_name[message].fields_by_number

    for number, name in enumerate(NUMBERS[message].split(), start=1):
        assert fields[number].name == name


def test_all_messages_are_listed():
    assert set(pb.DESCRIPTOR.message_types_by_name) == set(NUMBERS)
