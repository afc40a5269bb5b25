import django.contrib.postgres.indexes
import django.db.models.functions.text
from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        TrigramExtension(),
        migrations.CreateModel(
            name="Person",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "first_name",
                    models.CharField(help_text="1 to 255 characters after trimming.", max_length=255),
                ),
                (
                    "last_name",
                    models.CharField(help_text="1 to 255 characters after trimming.", max_length=255),
                ),
                (
                    "company_name",
                    models.CharField(help_text="1 to 255 characters after trimming.", max_length=255),
                ),
            ],
            options={
                "verbose_name_plural": "people",
                "ordering": ["id"],
                "indexes": [
                    django.contrib.postgres.indexes.GinIndex(
                        django.contrib.postgres.indexes.OpClass(
                            django.db.models.functions.text.Upper("first_name"), name="gin_trgm_ops"
                        ),
                        django.contrib.postgres.indexes.OpClass(
                            django.db.models.functions.text.Upper("last_name"), name="gin_trgm_ops"
                        ),
                        django.contrib.postgres.indexes.OpClass(
                            django.db.models.functions.text.Upper("company_name"), name="gin_trgm_ops"
                        ),
                        name="person_names_trgm",
                    ),
                    models.Index(fields=["company_name", "id"], name="person_company"),
                ],
            },
        ),
    ]
