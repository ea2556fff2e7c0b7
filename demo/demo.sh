#!/usr/bin/env bash
# The tour of tenantctl on throwaway servers: builds what it needs, starts devstack and runs tour.sh inside.
# All of it happens in a temporary folder. Exits with 0 only where every step of the tour was as it should be.
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/tenantctl-demo.XXXXXX")
trap 'rm -rf "$folder"' EXIT

# What somebody has set for servers of their own does not concern the demo.
for variable in $(compgen -e TENANTCTL_ || true); do
  case $variable in
    TENANTCTL_TEST_NOSQL_URL) ;; # devstack's: a real MongoDB
    *) unset "$variable" ;;
  esac
done

echo "building tenantctl and its throwaway servers (the first time takes a minute) ..." >&2
cd "$repository"
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
go build -o "$folder/bin/" ./cmd/tenantctl ./demo/probe
go build -tags tenantctl_faults -o "$folder/bin/tenantctl-faults" ./cmd/tenantctl
go -C devstack build -o "$folder/bin/devstack" .

mkdir "$folder/work"
cp -R migrations/example "$folder/work/migrations"
tour=$repository/demo/tour.sh
cd "$folder/work"
PATH=$folder/bin:$PATH
"$folder/bin/devstack" run -- "$tour"
