from django.db import models


class Customer(models.Model):
    email = models.TextField(unique=True)
    name = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        managed = False
        db_table = "customers"
