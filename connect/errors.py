"""Exceptions of the seam and the use cases. REST and gRPC translate them into their own errors."""


class NeighbourUnavailable(Exception):
    """A neighbour, the database, the broker or a free thread is not available in time. A retry is safe."""


class QuestionTooLarge(Exception):
    """The query exceeds the time limit of the call. A retry does not help."""

    def __init__(self) -> None:
        super().__init__(
            "The question takes too long. Ask for a shorter range, a smaller distance or a smaller `within`."
        )


class TooMany(Exception):
    """More than a limit per time allows. A retry after `wait_s` seconds helps."""

    def __init__(self, text: str, wait_s: int):
        super().__init__(text)
        self.wait_s = wait_s


class RequestTooLarge(ValueError):
    """More than one call may send. A retry does not help."""


class OutOfBounds(ValueError):
    """A parameter exceeds its bound. `errors` maps keyword arguments of the seam's verbs to messages."""

    def __init__(self, errors: dict[str, list[str]]):
        super().__init__(errors)
        self.errors = errors


class UnknownPerson(LookupError):
    """The person does not exist or is not visible to the caller."""

    def __init__(self, person_id: int):
        super().__init__(f"There is no person {person_id}.")
        self.person_id = person_id


class UnknownZone(LookupError):
    """The zone does not exist."""

    def __init__(self, zone_id: int):
        super().__init__(f"There is no zone {zone_id}.")
