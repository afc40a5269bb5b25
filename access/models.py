"""Tokens and sign-in codes, stored as hashes so that a leak does not expose them; the audit log."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey, APIKeyManager

from access.audit import MAX_IDS
from access.callers import Kind

DEFAULT_DAYS, MAX_DAYS = 30, 3660
NEVER = datetime(9999, 12, 31, tzinfo=UTC)  # expiry of configured service tokens, see sync_service_tokens
KINDS = {
    Kind.INGEST: "ingest: sends pings, nothing else",
    Kind.PERSON: "person: reads the person's own data",
    Kind.SERVICE: "service: another process of Connect",
    Kind.STAFF: "staff: everything, with the rights of its user",
}


def in_a_month() -> object:
    return timezone.now() + timedelta(days=DEFAULT_DAYS)


class Tokens(APIKeyManager):
    def get_usable_keys(self) -> models.QuerySet:
        return super().get_usable_keys().select_related("user")  # its rights are checked at each use


class Token(AbstractAPIKey):
    """A credential of a caller. Its key is `prefix`, which is not secret, a dot and a secret."""

    objects: ClassVar[Tokens] = Tokens()

    kind = models.CharField(max_length=10, choices=list(KINDS.items()))
    first_person_id = models.BigIntegerField(
        "first person",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="The person's id. For the devices of an event: the first id of its people.",
    )
    last_person_id = models.BigIntegerField(
        "last person",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Only for the devices of an event: the last id of its people. Empty: one person.",
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        help_text="Only for staff: the user whose rights the token has.",
    )
    expiry_date = models.DateTimeField("expires", default=in_a_month, help_text="UTC.")
    last_used = models.DateField("last used", null=True, blank=True, editable=False)
    key = ""  # the whole token, set only when it is made; not stored
    link = ""  # the sign-in link that is made with the token; not stored

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
        needs_person = self.kind in (Kind.INGEST, Kind.PERSON)
        errors = {}
        if needs_person and self.first_person_id is None:
            errors["first_person_id"] = "Enter a person."
        if not needs_person and (self.first_person_id or self.last_person_id) is not None:
            errors["first_person_id"] = f"A token of the kind {self.kind} has no person."
        if needs_person and self.last_person_id is None:
            self.last_person_id = self.first_person_id
        if self.kind == Kind.PERSON and self.last_person_id != self.first_person_id:
            errors["last_person_id"] = "A token of the kind person has one person."
        if self.first_person_id and self.last_person_id and self.last_person_id < self.first_person_id:
            errors["last_person_id"] = "Must not be less than the first."
        if (self.kind == Kind.STAFF) != (self.user is not None):
            errors["user"] = "Choose a user." if self.kind == Kind.STAFF else "Only a staff token has a user."
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
    """A one-time code in a sign-in link. It is exchanged once for a token of its person.

    It is stored as a token is: a hash and a `prefix` that is not secret. The code and its token expire at the
    same time. Revoking `made_with` also revokes the code.
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
    """A row of the audit log: one caller, one question, and one of the people it is about.

    `person_id` is NULL if the question is about everybody (`people` is 0), about unknown people or about more
    than access.audit.MAX_IDS, and after the person was erased. If people are too many to be listed,
    `first_person_id` and `last_person_id` are the lowest and the highest id.
    """

    at = models.DateTimeField(db_default=Now(), editable=False)
    kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in KINDS])
    caller = models.CharField(max_length=200, help_text="The user, or the prefix of the token.")
    what = models.CharField(max_length=60)
    person_id = models.BigIntegerField(
        "about person", null=True, help_text="Empty: everybody, an unknown person, or too many."
    )
    people = models.IntegerField(null=True, help_text="The number of people asked about; 0 means everybody.")
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
                condition=models.Q(people__gt=MAX_IDS),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.caller}: {self.what}"
