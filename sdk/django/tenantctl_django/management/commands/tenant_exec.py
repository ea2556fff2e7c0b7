"""manage.py tenant_exec (--tenant NAME... | --all) COMMAND [ARGUMENT...]"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from ...fleet import TenantsFailed, for_each_tenant
from ...tenant import Tenant, TenantError


class Command(BaseCommand):  # type: ignore[misc]
    help = "Run a management command in one tenant, several or all that are open: tenant_exec --all clearsessions"
    requires_system_checks: Any = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("--tenant", action="append", metavar="NAME", help="a tenant's name; may be given again")
        who.add_argument("--all", action="store_true", help="each tenant that is served now")
        parser.add_argument("name", metavar="COMMAND")
        parser.add_argument("arguments", metavar="ARGUMENT", nargs=argparse.REMAINDER)

    def handle(self, *args: Any, **options: Any) -> None:
        def work(tenant: Tenant) -> None:
            self.stdout.write(f"== {tenant.name}")
            call_command(options["name"], *options["arguments"], stdout=self.stdout, stderr=self.stderr)

        try:
            for_each_tenant(work, options["tenant"])
        except TenantsFailed as err:
            for name, reason in err.errors.items():
                self.stderr.write(f"{name}: {reason}")
            raise CommandError(f"{len(err.errors)} of {len(err.errors) + len(err.results)} tenants failed") from err
        except TenantError as err:
            raise CommandError(str(err)) from err
