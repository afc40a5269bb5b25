"""The paths of a process that serves the default apps and everybody's encounters."""

from connect.urls import handler400, handler403, handler404, handler500, urlpatterns
from encounters.urls import urlpatterns as encounters

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = [*encounters, *urlpatterns]
