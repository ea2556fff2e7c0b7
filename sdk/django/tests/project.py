"""Sets Django up, for each module of tests."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.conf import settings  # noqa: E402

from tenantctl_django import Tenant  # noqa: E402

TENANTS = {name: Tenant(**fields) for name, fields in settings.FACTS["tenants"].items()}
ACME, GLOBEX, ODD = TENANTS["acme"], TENANTS["globex"], TENANTS["odd"]
KEYS = [key.encode() for key in settings.KEYS]
