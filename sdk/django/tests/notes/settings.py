"""A project with tests of its own."""

from tests.settings import *  # noqa: F403
from tests.settings import FACTS

INSTALLED_APPS = ["tenantctl_django", "tests.notes"]
ROOT_URLCONF = "tests.notes.urls"
DATABASES = {
    "default": {**FACTS["server"], **FACTS["superuser"], "ENGINE": "tenantctl_django.postgresql"},
}
