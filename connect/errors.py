"""Exceptions of the seam and the use cases. Each door translates them into its own errors."""


class NeighbourUnavailable(Exception):
    """What this call needs is out of reach. Asking again later is safe."""


class QuestionTooLarge(Exception):
    """The answer takes longer than a caller may have. Asking the same again does not help."""

    def __init__(self) -> None:
        super().__init__(
            "The question takes too long. Ask for a shorter range, a smaller distance or a smaller `within`."
        )


class OutOfBounds(ValueError):
    """A question asks for more than is allowed. `errors` maps keywords of the seam's verbs to what is."""

    def __init__(self, errors: dict[str, list[str]]):
        super().__init__(errors)
        self.errors = errors


class UnknownPerson(LookupError):
    """There is no such person, or none that the caller may know of."""

    def __init__(self, person_id: int):
        super().__init__(f"There is no person {person_id}.")
        self.person_id = person_id
