"""Django's connection is the environment's: libpq finds host, user, password and the tenant's schema there by itself.

tenantctl sets PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE and PGOPTIONS (-c search_path=SCHEMA) for each tenant.
"""

import os

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "needed by Django to start, and by migrate for nothing")
INSTALLED_APPS = ["orders"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
    }
}
