#!/bin/sh
# The user that the units run as, and whose group may read /etc/tenantctl.
set -e
[ -z "${DPKG_ROOT:-}" ] || exit 0
getent group tenantctl >/dev/null || groupadd --system tenantctl
getent passwd tenantctl >/dev/null ||
  useradd --system --gid tenantctl --home-dir /var/lib/tenantctl --no-create-home --shell /usr/sbin/nologin tenantctl
