#!/bin/sh
# dpkg says remove and rpm 0 where the package goes; an upgrade leaves the units as they are.
set -e
[ -z "${DPKG_ROOT:-}" ] || exit 0
if [ "$1" = remove ] || [ "$1" = 0 ]; then
  if [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now tenantctl-resolver.service \
      tenantctl-backup.timer tenantctl-verify.timer tenantctl-purge.timer
  fi
fi
