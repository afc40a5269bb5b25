"""Tokens, as they are stored: hashed, so that nobody who reads them can use them. And who asked what."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey, APIKeyManager

from access.audit import MOST_IDS
from access.callers import Kind

DAYS = 30
NEVER = datetime(
    9999, 12, 31, tzinfo=UTC
)  # when a configured service token expires (services.admit_processes)
KINDS = {
    Kind.INGEST: "ingest: sends pings, and nothing else",
    Kind.PERSON: "person: reads what is its own",
    Kind.SERVICE: "service: another process of Connect",
    Kind.STAFF: "staff: everything, as its user may",
}


def in_a_month() -> object:
    return timezone.now() + timedelta(days=DAYS)


class Tokens(APIKeyManager):
    def get_usable_keys(self) -> models.QuerySet:
        return super().get_usable_keys().select_related("user")  # whose rights are looked at each time


class Token(AbstractAPIKey):
    """What a caller shows. `prefix` names it, and is the part of it that is not secret."""

    objects: ClassVar[Tokens] = Tokens()

    kind = models.CharField(max_length=10, choices=list(KINDS.items()))
    first_person_id = models.BigIntegerField(
        "first person",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="The id of the person; for the devices of an event, the first of its people.",
    )
    last_person_id = models.BigIntegerField(
        "last person",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Only for the devices of an event: the last id of its people. Empty: just the first.",
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        help_text="Only for staff: whose rights it has.",
    )
    expiry_date = models.DateTimeField("expires", default=in_a_month, help_text="UTC.")
    last_used = models.DateField("last used", null=True, blank=True, editable=False)
    shown = ""  # the whole of it, where it was just made: stored nowhere
    link = ""  # the sign-in link that was made with it: stored nowhere

    class Meta(AbstractAPIKey.Meta):
        verbose_name = "token"
        verbose_name_plural = "tokens"
        constraints = [
            models.CheckConstraint(
                name="token_is_of_its_kind",
                condition=(
                    models.Q(
                        kind__in=[Kind.INGEST, Kind.PERSON],
                        first_person_id__isnull=False,
                        last_person_id__gte=models.F("first_person_id"),
                        user=None,
                    )
                    & (~models.Q(kind=Kind.PERSON) | models.Q(last_person_id=models.F("first_person_id")))
                )
                | models.Q(kind=Kind.STAFF, user__isnull=False, first_person_id=None, last_person_id=None)
                | models.Q(kind=Kind.SERVICE, user=None, first_person_id=None, last_person_id=None),
            ),
            models.CheckConstraint(
                name="token_expires_unless_configured",
                condition=models.Q(expiry_date__lt=NEVER) | models.Q(kind=Kind.SERVICE, expiry_date=NEVER),
            ),
        ]
        indexes = [models.Index(fields=["first_person_id"], name="token_person")]

    def clean(self) -> None:
        super().clean()
        of_people = self.kind in (Kind.INGEST, Kind.PERSON)
        errors = {}
        if of_people and self.first_person_id is None:
            errors["first_person_id"] = "Say whose it is."
        if not of_people and (self.first_person_id or self.last_person_id) is not None:
            errors["first_person_id"] = f"A token of the kind {self.kind} is not a person's."
        if of_people and self.last_person_id is None:
            self.last_person_id = self.first_person_id
        if self.kind == Kind.PERSON and self.last_person_id != self.first_person_id:
            errors["last_person_id"] = "A person's token is one person's."
        if self.first_person_id and self.last_person_id and self.last_person_id < self.first_person_id:
            errors["last_person_id"] = "Must not be before the first."
        if (self.kind == Kind.STAFF) != (self.user is not None):
            errors["user"] = (
                "Say whose rights it has." if self.kind == Kind.STAFF else "Only a staff token has a user."
            )
        if errors:
            raise ValidationError(errors)

    @property
    def people(self) -> tuple[int, int] | None:
        if self.first_person_id is None or self.last_person_id is None:
            return None
        return self.first_person_id, self.last_person_id

    @property
    def state(self) -> str:
        """usable, expired or revoked."""
        if self.revoked:
            return "revoked"
        return "expired" if self.has_expired else "usable"


class SignInCode(AbstractAPIKey):
    """A one-time code in a sign-in link. It is exchanged for a token of its person, once.

    Like a token it is stored as a hash, and `prefix` is the part that is not secret. The code and the token
    that it gives expire at the same time. Revoking `made_with` revokes the code, too.
    """

    objects: ClassVar[APIKeyManager] = APIKeyManager()

    person_id = models.BigIntegerField("person", validators=[MinValueValidator(1)])
    made_with = models.ForeignKey(Token, null=True, editable=False, on_delete=models.CASCADE)
    expiry_date = models.DateTimeField("expires", default=in_a_month, help_text="UTC.")
    used_at = models.DateTimeField("used", null=True, editable=False)

    class Meta(AbstractAPIKey.Meta):
        verbose_name = "sign-in link"
        verbose_name_plural = "sign-in links"
        indexes = [models.Index(fields=["person_id"], name="sign_in_code_person")]

    @property
    def state(self) -> str:
        """usable, used, expired or revoked."""
        if self.revoked or (self.made_with is not None and self.made_with.revoked):
            return "revoked"
        if self.used_at is not None:
            return "used"
        return "expired" if self.has_expired else "usable"


class Question(models.Model):
    """A line of the audit log: one caller, one question, and one of the people it is about.

    `person_id` is empty for a question about everybody (`people` is 0), about unknown people, about more than
    access.audit.MOST_IDS, and once that person is erased. `first_person_id` and `last_person_id` stand for
    people who are too many to be listed.
    """

    at = models.DateTimeField(db_default=Now(), editable=False)
    kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in KINDS])
    caller = models.CharField(max_length=200, help_text="The user, or the prefix of the token.")
    what = models.CharField(max_length=60)
    person_id = models.BigIntegerField("about person", null=True, help_text="None: about everybody.")
    people = models.IntegerField(null=True, help_text="The number of people asked about; 0 is everybody.")
    first_person_id = models.BigIntegerField("from person", null=True)
    last_person_id = models.BigIntegerField("to person", null=True)
    range_start = models.DateTimeField("from", null=True)
    range_end = models.DateTimeField("to", null=True)
    outcome = models.CharField(max_length=20, db_default="", help_text="The HTTP or gRPC status.")

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["person_id", "at"], name="question_person"),
            models.Index(fields=["at"], name="question_at"),
            models.Index(
                fields=["first_person_id", "last_person_id"],
                name="question_people",
                condition=models.Q(people__gt=MOST_IDS),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.caller}: {self.what}"
