"""Positions and distances as the database computes them, for columns of pings."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

# GeographicLib, as in PostGIS, which computes the flattening from the two axes.
_WGS84 = Geod(a=6378137.0, b=6356752.314245179498)
_RADIUS_M, _E2, _1_MINUS_E2 = 6378137.0, 0.0066943799901413165, 0.9933056200098586835

# The functions sind and cosd of PostgreSQL (float.c): exact at multiples of 30 degrees. The order of the
# steps is theirs, so that the results are equal to the bit.
_RADIANS_PER_DEGREE = 0.0174532925199432957692
_SIN_30 = np.sin(30.0 * _RADIANS_PER_DEGREE)
_ONE_MINUS_COS_60 = 1.0 - np.cos(60.0 * _RADIANS_PER_DEGREE)

Numbers = NDArray[np.float64]


def geocentric(latitude: Numbers, longitude: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """x, y and z in metres: the generated columns of the locations table (locations/migrations/0001)."""
    sine, cosine = _sind(latitude), _cosd(latitude)
    normal = _RADIUS_M / np.sqrt(1.0 - _E2 * sine * sine)
    return normal * cosine * _cosd(longitude), normal * cosine * _sind(longitude), normal * _1_MINUS_E2 * sine


def geodesic_m(a: NDArray[Any], b: NDArray[Any]) -> Numbers:
    """ST_Distance(a, b) of geographies in metres; `a` and `b` have the fields `latitude` and `longitude`.

    PostGIS converts degrees to radians and back, and rounds to 1e-8 m.
    """
    points = [_through_radians(each[name]) for each in (a, b) for name in ("longitude", "latitude")]
    distance = np.asarray(_WGS84.inv(points[0], points[1], points[2], points[3])[2])
    return np.floor(distance * 1e8 + 0.5) / 1e8


def _through_radians(degrees: Numbers) -> Numbers:
    return np.pi * degrees / 180.0 * 180.0 / np.pi


def _sin_0_to_30(x: Numbers) -> Numbers:
    return (np.sin(x * _RADIANS_PER_DEGREE) / _SIN_30) / 2.0


def _cos_0_to_60(x: Numbers) -> Numbers:
    return 1.0 - ((1.0 - np.cos(x * _RADIANS_PER_DEGREE)) / _ONE_MINUS_COS_60) / 2.0


def _sind(degrees: Numbers) -> Numbers:
    """The sine of -180 to 180 degrees."""
    x = np.abs(degrees)
    x = np.where(x > 90, 180 - x, x)
    return np.where(degrees < 0, -1, 1) * np.where(x <= 30, _sin_0_to_30(x), _cos_0_to_60(90 - x))


def _cosd(degrees: Numbers) -> Numbers:
    """The cosine of -180 to 180 degrees."""
    x = np.abs(degrees)
    sign = np.where(x > 90, -1, 1)
    x = np.where(x > 90, 180 - x, x)
    return sign * np.where(x <= 60, _cos_0_to_60(x), _sin_0_to_30(90 - x))
