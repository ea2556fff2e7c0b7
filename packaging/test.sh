#!/usr/bin/env bash
# Builds the packages and tries them: installs an older .deb, changes the configuration, upgrades, and takes the package
# away again. On a throwaway machine (PACKAGE_TEST=system) with the maintainer scripts, as root; elsewhere into a folder.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "package: $*" >&2; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
arch=$(go env GOARCH)
# The program is large and packing it slow: the older package has a stand-in, and so has the .rpm, which is only looked at.
printf '#!/bin/sh\necho tenantctl 0.0.1\n' >"$dir/older"
packaging/build.sh linux "$arch" 0.0.1 "$dir/older" "$dir" deb rpm
packaging/build.sh linux "$arch" 0.0.2 bin/tenantctl "$dir" deb

root=$dir/root
if [ "${PACKAGE_TEST:-}" = system ]; then
  root=
  sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  package() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive dpkg "$@" >"$dir/log" 2>&1 || { cat "$dir/log"; fail "dpkg $*"; }; }
else
  sudo=()
  mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates"
  touch "$root/var/lib/dpkg/status"
  package() {
    dpkg --root="$root" --force-not-root --force-script-chrootless --force-depends "$@" >"$dir/log" 2>&1 || { cat "$dir/log"; fail "dpkg $*"; }
  }
fi

echo "== install"
package -i "$dir/tenantctl_0.0.1_linux_$arch.deb"
[ "$("$root/usr/bin/tenantctl" --version)" = "tenantctl 0.0.1" ] || fail "the older program is not there"
for file in usr/share/man/man1/tenantctl-create.1.gz usr/share/bash-completion/completions/tenantctl \
  usr/share/fish/vendor_completions.d/tenantctl.fish usr/share/zsh/vendor-completions/_tenantctl etc/default/tenantctl; do
  [ -s "$root/$file" ] || fail "/$file is missing"
done
gzip -dc "$root/usr/share/man/man1/tenantctl-backup.1.gz" | grep -q '^\.TH' || fail "the man pages are none"
if command -v systemd-analyze >/dev/null; then
  units=("$root"/usr/lib/systemd/system/tenantctl-*)
  [ "${#units[@]}" = 7 ] || fail "there are ${#units[@]} units"
  # In a folder there is neither the rest of the system nor a program at /usr/bin.
  verify=$(systemd-analyze verify --man=no --root="${root:-/}" "${units[@]##*/}" 2>&1 || true)
  verify=$(grep tenantctl <<<"$verify" | grep -v -e 'is not executable' -e 'Unit [a-z-]*.target not found' || true)
  [ -z "$verify" ] || fail "$verify"
fi

echo "== upgrade, with a configuration that was changed"
"${sudo[@]}" sh -c "echo 'environment: kept' >>'$root/etc/tenantctl/tenantctl.yaml'; echo '# kept' >>'$root/etc/default/tenantctl'"
package -i "$dir/tenantctl_0.0.2_linux_$arch.deb"
[ "$("$root/usr/bin/tenantctl" --version)" = "$(bin/tenantctl --version)" ] || fail "the program is not the one that was built"
"${sudo[@]}" env TENANTCTL_CONFIG="$root/etc/tenantctl/tenantctl.yaml" "$root/usr/bin/tenantctl" config view >"$dir/view" ||
  fail "the configuration cannot be read"
grep -q '^environment .* kept$' "$dir/view" || fail "another configuration is read"
"${sudo[@]}" grep -q '^environment: kept$' "$root/etc/tenantctl/tenantctl.yaml" || fail "the upgrade has overwritten tenantctl.yaml"
grep -q '^# kept$' "$root/etc/default/tenantctl" || fail "the upgrade has overwritten /etc/default/tenantctl"
dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Version} ${Status}' tenantctl | grep -qx '0.0.2 install ok installed' || fail "the upgrade is not there"

echo "== remove"
package -r tenantctl
[ ! -e "$root/usr/bin/tenantctl" ] || fail "the program is left"
"${sudo[@]}" test -s "$root/etc/tenantctl/tenantctl.yaml" || fail "the configuration is gone with the package"
package -P tenantctl
"${sudo[@]}" test ! -e "$root/etc/tenantctl/tenantctl.yaml" || fail "the configuration is left after a purge"

rpm=$dir/tenantctl_0.0.1_linux_$arch.rpm
if command -v rpm >/dev/null; then
  rpm -qp --configfiles "$rpm" | grep -qx /etc/tenantctl/tenantctl.yaml || fail "the .rpm has no configuration"
  rpm -qpl "$rpm" | grep -qx /usr/share/zsh/site-functions/_tenantctl || fail "the .rpm has no completion for zsh"
else
  [ "$(head -c 4 "$rpm" | od -An -tx1 | tr -d ' ')" = edabeedb ] || fail "the .rpm is none"
fi
echo "packages: installed, upgraded and removed"
