import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Location(_message.Message):
    __slots__ = ("id", "person_id", "creation_time", "latitude", "longitude", "accuracy")
    ID_FIELD_NUMBER: _ClassVar[int]
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    LATITUDE_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    id: str
    person_id: int
    creation_time: _timestamp_pb2.Timestamp
    latitude: float
    longitude: float
    accuracy: float
    def __init__(self, id: _Optional[str] = ..., person_id: _Optional[int] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., latitude: _Optional[float] = ..., longitude: _Optional[float] = ..., accuracy: _Optional[float] = ...) -> None: ...

class RecordLocationsRequest(_message.Message):
    __slots__ = ("locations",)
    LOCATIONS_FIELD_NUMBER: _ClassVar[int]
    locations: _containers.RepeatedCompositeFieldContainer[Location]
    def __init__(self, locations: _Optional[_Iterable[_Union[Location, _Mapping]]] = ...) -> None: ...

class RecordLocationsResponse(_message.Message):
    __slots__ = ("accepted", "refused", "stored")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    stored: int
    def __init__(self, accepted: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., stored: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("index", "code", "faults")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    index: int
    code: int
    faults: _containers.RepeatedCompositeFieldContainer[Fault]
    def __init__(self, index: _Optional[int] = ..., code: _Optional[int] = ..., faults: _Optional[_Iterable[_Union[Fault, _Mapping]]] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("field", "reason")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    field: str
    reason: str
    def __init__(self, field: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class GetLocationRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListLocationsRequest(_message.Message):
    __slots__ = ("person_id", "start", "end", "bounds", "limit", "after", "order", "look_ahead")
    class Order(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OLDEST: _ClassVar[ListLocationsRequest.Order]
        NEWEST: _ClassVar[ListLocationsRequest.Order]
    OLDEST: ListLocationsRequest.Order
    NEWEST: ListLocationsRequest.Order
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    LOOK_AHEAD_FIELD_NUMBER: _ClassVar[int]
    person_id: int
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    bounds: Bounds
    limit: int
    after: LocationKey
    order: ListLocationsRequest.Order
    look_ahead: bool
    def __init__(self, person_id: _Optional[int] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., bounds: _Optional[_Union[Bounds, _Mapping]] = ..., limit: _Optional[int] = ..., after: _Optional[_Union[LocationKey, _Mapping]] = ..., order: _Optional[_Union[ListLocationsRequest.Order, str]] = ..., look_ahead: _Optional[bool] = ...) -> None: ...

class ListLocationsResponse(_message.Message):
    __slots__ = ("locations",)
    LOCATIONS_FIELD_NUMBER: _ClassVar[int]
    locations: _containers.RepeatedCompositeFieldContainer[Location]
    def __init__(self, locations: _Optional[_Iterable[_Union[Location, _Mapping]]] = ...) -> None: ...

class Bounds(_message.Message):
    __slots__ = ("west", "south", "east", "north")
    WEST_FIELD_NUMBER: _ClassVar[int]
    SOUTH_FIELD_NUMBER: _ClassVar[int]
    EAST_FIELD_NUMBER: _ClassVar[int]
    NORTH_FIELD_NUMBER: _ClassVar[int]
    west: float
    south: float
    east: float
    north: float
    def __init__(self, west: _Optional[float] = ..., south: _Optional[float] = ..., east: _Optional[float] = ..., north: _Optional[float] = ...) -> None: ...

class LocationKey(_message.Message):
    __slots__ = ("creation_time", "person_id")
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    creation_time: _timestamp_pb2.Timestamp
    person_id: int
    def __init__(self, creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., person_id: _Optional[int] = ...) -> None: ...

class FindConnectionsRequest(_message.Message):
    __slots__ = ("person_id", "start", "end", "distance_m", "within_s", "limit", "after", "look_ahead", "max_accuracy_m")
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_M_FIELD_NUMBER: _ClassVar[int]
    WITHIN_S_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LOOK_AHEAD_FIELD_NUMBER: _ClassVar[int]
    MAX_ACCURACY_M_FIELD_NUMBER: _ClassVar[int]
    person_id: int
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    distance_m: float
    within_s: float
    limit: int
    after: LocationKey
    look_ahead: bool
    max_accuracy_m: float
    def __init__(self, person_id: _Optional[int] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., distance_m: _Optional[float] = ..., within_s: _Optional[float] = ..., limit: _Optional[int] = ..., after: _Optional[_Union[LocationKey, _Mapping]] = ..., look_ahead: _Optional[bool] = ..., max_accuracy_m: _Optional[float] = ...) -> None: ...

class FindConnectionsResponse(_message.Message):
    __slots__ = ("locations", "max_accuracy_m")
    LOCATIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_ACCURACY_M_FIELD_NUMBER: _ClassVar[int]
    locations: _containers.RepeatedCompositeFieldContainer[Location]
    max_accuracy_m: float
    def __init__(self, locations: _Optional[_Iterable[_Union[Location, _Mapping]]] = ..., max_accuracy_m: _Optional[float] = ...) -> None: ...

class FindEncountersRequest(_message.Message):
    __slots__ = ("person_id", "start", "end", "distance_m", "within_s", "max_gap_s", "min_duration_s", "limit", "after", "plausible_only", "look_ahead", "max_accuracy_m")
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_M_FIELD_NUMBER: _ClassVar[int]
    WITHIN_S_FIELD_NUMBER: _ClassVar[int]
    MAX_GAP_S_FIELD_NUMBER: _ClassVar[int]
    MIN_DURATION_S_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    PLAUSIBLE_ONLY_FIELD_NUMBER: _ClassVar[int]
    LOOK_AHEAD_FIELD_NUMBER: _ClassVar[int]
    MAX_ACCURACY_M_FIELD_NUMBER: _ClassVar[int]
    person_id: int
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    distance_m: float
    within_s: float
    max_gap_s: float
    min_duration_s: float
    limit: int
    after: EncounterKey
    plausible_only: bool
    look_ahead: bool
    max_accuracy_m: float
    def __init__(self, person_id: _Optional[int] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., distance_m: _Optional[float] = ..., within_s: _Optional[float] = ..., max_gap_s: _Optional[float] = ..., min_duration_s: _Optional[float] = ..., limit: _Optional[int] = ..., after: _Optional[_Union[EncounterKey, _Mapping]] = ..., plausible_only: _Optional[bool] = ..., look_ahead: _Optional[bool] = ..., max_accuracy_m: _Optional[float] = ...) -> None: ...

class FindEncountersResponse(_message.Message):
    __slots__ = ("encounters", "plausible_only", "max_accuracy_m")
    ENCOUNTERS_FIELD_NUMBER: _ClassVar[int]
    PLAUSIBLE_ONLY_FIELD_NUMBER: _ClassVar[int]
    MAX_ACCURACY_M_FIELD_NUMBER: _ClassVar[int]
    encounters: _containers.RepeatedCompositeFieldContainer[Encounter]
    plausible_only: bool
    max_accuracy_m: float
    def __init__(self, encounters: _Optional[_Iterable[_Union[Encounter, _Mapping]]] = ..., plausible_only: _Optional[bool] = ..., max_accuracy_m: _Optional[float] = ...) -> None: ...

class Encounter(_message.Message):
    __slots__ = ("person_id", "start", "end", "duration_s", "pings", "min_distance_m", "latitude", "longitude", "nth")
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    PINGS_FIELD_NUMBER: _ClassVar[int]
    MIN_DISTANCE_M_FIELD_NUMBER: _ClassVar[int]
    LATITUDE_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_FIELD_NUMBER: _ClassVar[int]
    NTH_FIELD_NUMBER: _ClassVar[int]
    person_id: int
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    duration_s: float
    pings: int
    min_distance_m: float
    latitude: float
    longitude: float
    nth: int
    def __init__(self, person_id: _Optional[int] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration_s: _Optional[float] = ..., pings: _Optional[int] = ..., min_distance_m: _Optional[float] = ..., latitude: _Optional[float] = ..., longitude: _Optional[float] = ..., nth: _Optional[int] = ...) -> None: ...

class EncounterKey(_message.Message):
    __slots__ = ("start", "person_id", "nth")
    START_FIELD_NUMBER: _ClassVar[int]
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    NTH_FIELD_NUMBER: _ClassVar[int]
    start: _timestamp_pb2.Timestamp
    person_id: int
    nth: int
    def __init__(self, start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., person_id: _Optional[int] = ..., nth: _Optional[int] = ...) -> None: ...

class ListDaysRequest(_message.Message):
    __slots__ = ("person_id", "time_zone")
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    person_id: int
    time_zone: str
    def __init__(self, person_id: _Optional[int] = ..., time_zone: _Optional[str] = ...) -> None: ...

class ListDaysResponse(_message.Message):
    __slots__ = ("days",)
    DAYS_FIELD_NUMBER: _ClassVar[int]
    days: _containers.RepeatedCompositeFieldContainer[Day]
    def __init__(self, days: _Optional[_Iterable[_Union[Day, _Mapping]]] = ...) -> None: ...

class Day(_message.Message):
    __slots__ = ("day", "first", "last")
    DAY_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    day: str
    first: _timestamp_pb2.Timestamp
    last: _timestamp_pb2.Timestamp
    def __init__(self, day: _Optional[str] = ..., first: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListPositionsRequest(_message.Message):
    __slots__ = ("at", "max_age_s", "bounds", "person_id")
    AT_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_S_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_FIELD_NUMBER: _ClassVar[int]
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    max_age_s: float
    bounds: Bounds
    person_id: int
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., max_age_s: _Optional[float] = ..., bounds: _Optional[_Union[Bounds, _Mapping]] = ..., person_id: _Optional[int] = ...) -> None: ...

class ListPositionsResponse(_message.Message):
    __slots__ = ("locations",)
    LOCATIONS_FIELD_NUMBER: _ClassVar[int]
    locations: _containers.RepeatedCompositeFieldContainer[Location]
    def __init__(self, locations: _Optional[_Iterable[_Union[Location, _Mapping]]] = ...) -> None: ...

class ListHeatRequest(_message.Message):
    __slots__ = ("start", "end", "cell_m", "person_id")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    CELL_M_FIELD_NUMBER: _ClassVar[int]
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    cell_m: float
    person_id: int
    def __init__(self, start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cell_m: _Optional[float] = ..., person_id: _Optional[int] = ...) -> None: ...

class ListHeatResponse(_message.Message):
    __slots__ = ("cells",)
    CELLS_FIELD_NUMBER: _ClassVar[int]
    cells: _containers.RepeatedCompositeFieldContainer[HeatCell]
    def __init__(self, cells: _Optional[_Iterable[_Union[HeatCell, _Mapping]]] = ...) -> None: ...

class HeatCell(_message.Message):
    __slots__ = ("latitude", "longitude", "person_minutes", "people")
    LATITUDE_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_FIELD_NUMBER: _ClassVar[int]
    PERSON_MINUTES_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    latitude: float
    longitude: float
    person_minutes: int
    people: int
    def __init__(self, latitude: _Optional[float] = ..., longitude: _Optional[float] = ..., person_minutes: _Optional[int] = ..., people: _Optional[int] = ...) -> None: ...

class ListVisitsRequest(_message.Message):
    __slots__ = ("areas", "start", "end", "max_gap_s", "min_duration_s", "person_id")
    AREAS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    MAX_GAP_S_FIELD_NUMBER: _ClassVar[int]
    MIN_DURATION_S_FIELD_NUMBER: _ClassVar[int]
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    areas: _containers.RepeatedCompositeFieldContainer[Area]
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    max_gap_s: float
    min_duration_s: float
    person_id: int
    def __init__(self, areas: _Optional[_Iterable[_Union[Area, _Mapping]]] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., max_gap_s: _Optional[float] = ..., min_duration_s: _Optional[float] = ..., person_id: _Optional[int] = ...) -> None: ...

class Area(_message.Message):
    __slots__ = ("id", "polygon")
    ID_FIELD_NUMBER: _ClassVar[int]
    POLYGON_FIELD_NUMBER: _ClassVar[int]
    id: int
    polygon: bytes
    def __init__(self, id: _Optional[int] = ..., polygon: _Optional[bytes] = ...) -> None: ...

class ListVisitsResponse(_message.Message):
    __slots__ = ("areas",)
    AREAS_FIELD_NUMBER: _ClassVar[int]
    areas: _containers.RepeatedCompositeFieldContainer[AreaVisits]
    def __init__(self, areas: _Optional[_Iterable[_Union[AreaVisits, _Mapping]]] = ...) -> None: ...

class AreaVisits(_message.Message):
    __slots__ = ("area_id", "people", "visits", "person_seconds", "median_stay_s", "longest_stay_s")
    AREA_ID_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    VISITS_FIELD_NUMBER: _ClassVar[int]
    PERSON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_STAY_S_FIELD_NUMBER: _ClassVar[int]
    LONGEST_STAY_S_FIELD_NUMBER: _ClassVar[int]
    area_id: int
    people: int
    visits: int
    person_seconds: float
    median_stay_s: float
    longest_stay_s: float
    def __init__(self, area_id: _Optional[int] = ..., people: _Optional[int] = ..., visits: _Optional[int] = ..., person_seconds: _Optional[float] = ..., median_stay_s: _Optional[float] = ..., longest_stay_s: _Optional[float] = ...) -> None: ...
