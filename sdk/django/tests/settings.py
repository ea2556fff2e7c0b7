"""A project for the tests. cmd/sdk_django_test.go makes its tenants and tells of them in TENANTCTL_TEST_DJANGO."""

import json
import os

FACTS = json.loads(os.environ["TENANTCTL_TEST_DJANGO"])
SECRET_KEY = "of the tests"
KEYS = ["a new secret of assertions, long enough", "an old secret of assertions, long enough"]
TENANTCTL = {"ASSERTION_KEYS": KEYS, "EXEMPT_PATHS": ["/livez"]}
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["tenantctl_django", "tests.shop"]
MIDDLEWARE = ["tenantctl_django.middleware.tenant_middleware"]
ROOT_URLCONF = "tests.shop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
_SERVER = {**FACTS["server"], "CONN_MAX_AGE": 600}
DATABASES = {
    "default": {**_SERVER, "ENGINE": "tenantctl_django.postgresql"},
    "requests": {
        **_SERVER,
        "ENGINE": "tenantctl_django.postgresql",
        "ATOMIC_REQUESTS": True,
    },
    "plain": {**_SERVER, "ENGINE": "django.db.backends.postgresql"},
    "pooled": {
        **_SERVER,
        **FACTS["pooler"],
        "ENGINE": "tenantctl_django.postgresql",
        "DISABLE_SERVER_SIDE_CURSORS": True,
    },
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "KEY_FUNCTION": "tenantctl_django.cache.make_key",
    }
}
