"""manage.py tenant_exec --all seed: a few orders and notes for a tenant that has none."""

import random

from django.core.management.base import BaseCommand

from shop import stores
from shop.models import Order
from tenantctl_django import current_tenant

CUSTOMERS = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "Edsger Dijkstra", "Barbara Liskov", "Donald Knuth"]
ITEMS = ["Anvil, 50 kg", "Rocket skates", "Giant magnet", "Bird seed, 10 kg", "Portable hole", "Spring boots"]
NOTES = [
    "Call {customer} about the delivery.",
    "Out of stock until Monday: {item}.",
    "Stocktaking at {tenant} on Friday.",
]


class Command(BaseCommand):
    help = "Writes a few orders and notes where there are none"
    requires_system_checks = []

    def handle(self, *args, **options):
        tenant = current_tenant()
        chance = random.Random(tenant.name)  # each tenant has its own, and the same ones again
        stores.postgresql_identity()
        stores.mongodb_identity()
        stores.redis_identity()
        if not Order.objects.exists():
            for _ in range(chance.randint(4, 9)):
                customer, item = chance.choice(CUSTOMERS), chance.choice(ITEMS)
                Order.objects.create(customer=customer, item=item, amount_cents=chance.randint(500, 250_000))
        if stores.notes().find_one() is None:
            for text in NOTES:
                filled = {"customer": chance.choice(CUSTOMERS), "item": chance.choice(ITEMS).lower()}
                stores.add_note(text.format(tenant=tenant.name.capitalize(), **filled))
        self.stdout.write(f"{Order.objects.count()} orders, {stores.notes().count_documents({})} notes")
