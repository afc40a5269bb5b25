"""The people of the simulated event. A seed gives the same sequence of people, whatever their number."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

FIRST_ID = 1_000_001
BOOTHS = 60  # one per company
_STAFF_EVERY = 8  # one person in 8 works at a booth


def _words(text: str) -> list[str]:
    return text.split()


_FIRST_NAMES = _words(
    "Ada Amina Anna Anton Aroha Ben Bianca Bruno Carla Chen Chioma Clara Daan Dana David Diego Elif Elena "
    "Emil Emma Fatima Felix Femi Finn Freya Giulia Hana Hassan Helena Hugo Ida Ines Ivan Jakob Jana Jonas "
    "Julia Kai Karim Kofi Lara Lea Leon Lina Luca Lucia Maja Malik Marek Maria Mateo Maya Mia Milan Mina "
    "Nadia Nils Noah Nora Olga Omar Oskar Paula Pavel Petra Priya Rafael Rana Ravi Rosa Sami Sara Selin "
    "Simon Sofia Stefan Tariq Tessa Theo Thuy Tomas Uma Vera Viktor Yara Yuki Yusuf Zara Zoe"
)
_LAST_NAMES = _words(
    "Abebe Adler Aydin Bauer Becker Berg Bianchi Blom Brandt Cruz Dahl Demir Diaz Dietrich Dubois Eriksen "
    "Evans Fischer Fontana Garcia Greene Haas Hansen Hoffmann Horvat Ito Ivanova Jansen Jensen Kaya Keller "
    "Khan Kim Koch Kowalski Kumar Lang Larsen Lehmann Lind Lopez Maier Marino Mbeki Meyer Moreau Mueller "
    "Nagy Nguyen Novak Okafor Olsen Osei Park Patel Pereira Petrov Popescu Ramos Richter Rivera Rossi Roth "
    "Sato Schmid Schulz Silva Singh Sorensen Stein Suzuki Tan Torres Vargas Virtanen Vogel Wagner Wang "
    "Weber Winkler Wolf Wright Yilmaz Young Zeman Zhang Zimmermann"
)
_COMPANIES = [
    f"{first} {second}"
    for second in _words("Robotics Textiles Energy Foods Instruments Software")
    for first in _words("Amber Birch Cobalt Delta Ember Fjord Granite Harbour Indigo Juniper")
]


class Person(NamedTuple):
    id: int
    first_name: str
    last_name: str
    company: int  # its index, also the number of its booth
    staff: bool

    @property
    def company_name(self) -> str:
        return company_name(self.company)


def company_name(company: int) -> str:
    """The name of the company with this index."""
    return _COMPANIES[company]


def make_people(count: int, *, seed: int) -> Iterator[Person]:
    """The first person works at the most popular booth."""
    rng = Random(f"people {seed}")  # noqa: S311 - not for secrets
    for index in range(count):
        first, last = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)
        company = rng.randrange(BOOTHS)
        staff = index % _STAFF_EVERY == 0
        if staff:
            company = index // _STAFF_EVERY % BOOTHS
        yield Person(FIRST_ID + index, first, last, company, staff)
