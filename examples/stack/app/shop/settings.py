"""A shop for many tenants. Addresses and secrets come from the environment."""

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

_postgres = urlsplit(os.environ["APP_POSTGRES_URL"])
MONGODB_URL = os.environ["APP_MONGODB_URL"]
REDIS_URL = os.environ["APP_REDIS_URL"]
SECRET_KEY = Path(os.environ["APP_SECRET_KEY_FILE"]).read_text()
TENANTCTL = {"ASSERTION_KEY_FILE": os.environ["APP_ASSERTION_KEY_FILE"], "EXEMPT_PATHS": ["/livez"]}

# Tenants have domains of their own: a request without an assertion for its host goes no further.
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["tenantctl_django", "shop"]
MIDDLEWARE = [
    "shop.middleware.whose_answer",  # before what may refuse: refusals have no tenant, and say so
    "tenantctl_django.middleware.tenant_middleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "shop.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
DATABASES = {
    "default": {
        "ENGINE": "tenantctl_django.postgresql",
        "HOST": _postgres.hostname,
        "PORT": _postgres.port,
        "NAME": _postgres.path[1:],
        "USER": unquote(_postgres.username),
        "PASSWORD": unquote(_postgres.password),
        "OPTIONS": dict(parse_qsl(_postgres.query)),
        "CONN_MAX_AGE": 600,  # connections outlive requests, and serve all tenants
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
