"""The system under attack: its ports, and the people and tokens that clients and attackers have."""

import json
from dataclasses import asdict, dataclass
from typing import Self

DAY = "start_date=2026-05-11&end_date=2026-05-11"
SIMULATED = 60
FIRST_SIMULATED = 1_000_001


@dataclass(frozen=True)
class Holder:
    """A person with the tokens that an attendee can have."""

    person_id: int
    ingest: str
    person: str


@dataclass(frozen=True)
class Target:
    """What a process of clients or of an attack is told on its standard input."""

    app: int
    api: int
    persons: int
    locations: int
    staff: str
    greedy_staff: str  # a staff token of the attacker
    phones: list[Holder]
    grpc_phones: list[Holder]
    asker: Holder
    attacker: Holder

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        told = json.loads(text)
        for name in ("phones", "grpc_phones"):
            told[name] = [Holder(**one) for one in told[name]]
        for name in ("asker", "attacker"):
            told[name] = Holder(**told[name])
        return cls(**told)
