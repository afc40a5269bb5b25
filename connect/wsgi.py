"""The WSGI application of `manage.py runserver`. Deployed processes use connect.asgi."""

import os

from django.core.wsgi import get_wsgi_application

from connect.middleware import Request

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

application = get_wsgi_application()
application.request_class = Request
