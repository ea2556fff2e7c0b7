"""What a tenant has in MongoDB and Redis."""

from datetime import datetime, timezone
from functools import lru_cache

import pymongo
import redis
from django.conf import settings
from django.db import connection

from tenantctl_django import current_tenant
from tenantctl_django.cache import tenant_key
from tenantctl_django.mongo import tenant_database

from .models import Identity


@lru_cache(maxsize=None)
def _mongodb():
    """One client for each process: it is made after gunicorn has forked."""
    return pymongo.MongoClient(settings.MONGODB_URL)


@lru_cache(maxsize=None)
def _redis():
    return redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)


def database():
    return tenant_database(_mongodb())


def notes():
    return database()["notes"]


def add_note(text):
    notes().insert_one({"text": text, "created_at": datetime.now(timezone.utc)})


def latest_notes(number):
    return list(notes().find().sort("created_at", -1).limit(number))


def count_visit():
    return _redis().incr(tenant_key("visits"))


def visits():
    return int(_redis().get(tenant_key("visits")) or 0)


def postgresql_identity():
    """Whose row is in the tables that this request reaches, with role and search_path, in one statement."""
    sql = "SELECT (SELECT tenant_id FROM identity), current_user, current_schema(), current_setting('search_path')"
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
        if row[0] is None:
            Identity.objects.bulk_create([Identity(tenant_id=current_tenant().id)], ignore_conflicts=True)
            cursor.execute(sql)
            row = cursor.fetchone()
    return dict(zip(("marker", "role", "schema", "search_path"), row))


def mongodb_identity():
    """Whose document is in the database that this request reaches."""
    identity = database()["identity"]
    found = identity.find_one({"_id": "tenant"})
    if found is None:
        mine = {"$setOnInsert": {"tenant_id": current_tenant().id}}
        identity.update_one({"_id": "tenant"}, mine, upsert=True)
        found = identity.find_one({"_id": "tenant"})
    return found["tenant_id"]


def redis_identity():
    """Whose key is under the prefix that this request uses."""
    asked = _redis().pipeline(transaction=False)
    asked.set(tenant_key("identity"), current_tenant().id, nx=True)
    asked.get(tenant_key("identity"))
    return asked.execute()[1]
