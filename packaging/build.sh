#!/usr/bin/env bash
# Builds the .deb and the .rpm of one architecture from a binary: packaging/build.sh OS ARCH VERSION BINARY FOLDER [FORMAT...].
# goreleaser calls it for every build; systems other than Linux have none.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$1" = linux ] || exit 0
export ARCH=$2 VERSION=$3 BINARY=$4
folder=$5
shift 5
formats=${*:-deb rpm}
mkdir -p "$folder"
for format in $formats; do
  bin/nfpm package --config packaging/nfpm.yaml --packager "$format" --target "$folder/tenantctl_${VERSION}_linux_$ARCH.$format" >/dev/null
done
