"""What a tenant has in PostgreSQL. tenantctl makes the tables, by migrations/postgres."""

from django.db import models


class Order(models.Model):
    number = models.BigAutoField(primary_key=True)
    customer = models.CharField(max_length=200)
    item = models.CharField(max_length=200)
    amount_cents = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        managed = False
        db_table = "orders"
        ordering = ["-number"]


class Identity(models.Model):
    """Whose schema this is: one row."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    tenant_id = models.TextField()

    class Meta:
        managed = False
        db_table = "identity"
