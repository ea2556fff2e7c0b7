"""The ENGINE "tenantctl_django.postgresql"."""
