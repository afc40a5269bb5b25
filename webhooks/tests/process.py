"""Runs `manage.py deliver_webhooks` on the database, topic and group of the tests."""

from django.conf import settings

from consumers.tests.process import WriterProcess


class DeliveryProcess(WriterProcess):
    command = "deliver_webhooks"

    def __init__(self, *arguments: str, **environ: str):
        own = {
            "KAFKA_WEBHOOKS_GROUP": settings.KAFKA_WEBHOOKS_GROUP,
            "WEBHOOKS_ALLOW_PRIVATE": "true",
        }
        super().__init__(*arguments, **own | environ)
