"""The Django project that every process of Connect runs."""

__version__ = "0.8.0"
