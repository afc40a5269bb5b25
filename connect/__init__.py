"""The Django project that every process of Connect runs."""
