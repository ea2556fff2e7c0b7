from django.core.management.base import BaseCommand

from tests.shop.models import Customer


class Command(BaseCommand):
    def handle(self, *args, **options):
        self.stdout.write(f"{Customer.objects.count()} customers")
