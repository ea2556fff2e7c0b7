#!/usr/bin/env bash
# The steps of the demo; demo.sh runs it in an empty folder, with both servers. What a command prints is checked, and
# the first thing that is off ends the tour.
set -euo pipefail

SECONDS=0
bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\033[1m' plain=$'\033[0m'
fi

title() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }

fail() {
  printf '\nthe demo failed: %s\n' "$1" >&2
  [ ! -s messages ] || cat messages >&2
  exit 1
}

# try WHO COMMAND... runs a command as WHO, prints what it says on stdout, and leaves that in $out and its exit code in
# $code. What it says on stderr, such as its progress, is kept in the file messages.
try() {
  printf '%s%s %s%s\n' "$bold" "$1" "$(shown "${@:2}")" "$plain"
  code=0
  out=$("${@:2}" 2>messages) || code=$?
  [ -z "$out" ] || printf '%s\n' "$out"
}

# run COMMAND... is try for a command that has to succeed.
run() {
  try '$' "$@"
  [ "$code" = 0 ] || fail "it exited with $code"
}

# shown is a command as it is displayed: of probe only the statement, since who speaks stands before it.
shown() {
  [ "$1" = probe ] && shift 2
  printf '%s' "$*"
}

# expect TEXT... checks that each text is in what the last command said.
expect() {
  local text
  for text in "$@"; do
    case $out in
      *"$text"*) ;;
      *) fail "expected '$text' in what it said" ;;
    esac
  done
}

# quietly COMMAND... leaves what a command says in $out without showing it.
quietly() { out=$("$@" 2>messages) || fail "$* exited with $?"; }

title '1. Three tenants, each with a PostgreSQL schema and a MongoDB database'
run tenantctl init
expect 'created the catalog'
run tenantctl create acme --domain acme.example.com --label plan=pro
expect 'acme: created'
run tenantctl create globex --domain globex.example.com --label plan=free
run tenantctl create initech --domain initech.example.com --label plan=free
run tenantctl list
expect acme.example.com plan=pro 'initech  active  postgres 5, mongodb 3'

title '2. A new migration for each store, and the whole fleet brought to it'
run tenantctl migrate new add_invoices
cat > "$out" <<'SQL'
-- +goose Up
CREATE TABLE invoices (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, customer text NOT NULL, cents bigint NOT NULL);
-- +goose Down
DROP TABLE invoices;
SQL
run tenantctl migrate new receipts --mongodb
expect receipts.up.json receipts.down.json
run tenantctl migrate
expect 'postgres 6, mongodb 4' 'done: 3 tenants, 3 changed, 0 unchanged, 0 failed, 0 not started'

title '3. Two tenants with their own passwords: each sees its own, and nothing else'
for tenant in acme globex; do
  quietly tenantctl credentials "$tenant" --rotate -o env
  eval "$(printf '%s\n' "$out" | sed "s/^/${tenant}_/")"
done
# The application of each, in its own database.
# shellcheck disable=SC2154 # set by the eval above
acme() { try 'acme  =>' probe "$acme_POSTGRES_URL" "$1"; }
# shellcheck disable=SC2154
globex() { try 'globex=>' probe "$globex_POSTGRES_URL" "$1"; }
acme "insert into invoices (customer, cents) values ('Wile E. Coyote', 4200)"
globex "insert into invoices (customer, cents) values ('Hank Scorpio', 9900)"
acme 'select customer from invoices'
[ "$out" = 'Wile E. Coyote' ] || fail 'acme does not see its own row alone'
globex 'select customer from invoices'
[ "$out" = 'Hank Scorpio' ] || fail 'globex does not see its own row alone'
acme 'select customer from tenant_globex.invoices'
expect 'ERROR: permission denied for schema tenant_globex (SQLSTATE 42501)'
globex 'drop table tenant_acme.invoices'
expect 'ERROR: permission denied for schema tenant_acme (SQLSTATE 42501)'
if [ -n "${acme_MONGODB_USER:-}" ]; then
  # shellcheck disable=SC2154
  acme_in_globex=$(printf '%s' "$acme_MONGODB_URL" | sed 's|/tenant_acme?|/tenant_globex?|')
  # shellcheck disable=SC2154
  try 'globex=>' probe "$globex_MONGODB_URL" '{"insert": "receipts", "documents": [{"_id": 1, "paid": true}]}'
  expect 1
  try 'acme  =>' probe "$acme_MONGODB_URL" '{"count": "receipts"}'
  [ "$out" = 0 ] || fail 'acme sees a document that is not its own'
  try 'acme in globex=>' probe "$acme_in_globex" '{"find": "receipts"}'
  expect 'ERROR: not authorized on tenant_globex'
else
  echo 'Documents: this server keeps no users (MongoDB does), so nobody is kept out of a database.'
fi

title '4. kill -9 in the middle of a create, and the same command again'
# A build for tests, which kills itself after the first store was made.
export TENANTCTL_TEST_FAULT=kill@create/postgres/after
try '$' tenantctl-faults create umbrella
unset TENANTCTL_TEST_FAULT
[ "$code" = 137 ] || fail "it exited with $code, not killed"
quietly probe "$TENANTCTL_POSTGRES_URL" "select count(*) from pg_namespace where nspname = 'tenant_umbrella'"
[ "$out" = 1 ] || fail 'the kill came before the schema was made'
echo '(killed: its schema is made, its database is not)'
run tenantctl ops list --unfinished
expect umbrella create
run tenantctl create umbrella
expect 'umbrella: created'
run tenantctl ops list --unfinished
cat messages
[ -z "$out" ] || fail 'an operation is left unfinished'
quietly tenantctl list --state active -o name
[ "$out" = $'acme\nglobex\ninitech\numbrella' ] || fail 'not all four tenants are active'

title '5. Delete it, and look for anything that is left'
run tenantctl delete umbrella --now --no-backup --yes
expect 'umbrella: deleted for good'
for place in "schema:select nspname from pg_namespace where nspname like 'tenant\_%' order by 1" \
  "role:select rolname from pg_roles where rolname like 'tenant\_%' order by 1"; do
  quietly probe "$TENANTCTL_POSTGRES_URL" "${place#*:}"
  printf '%-12s%s\n' "${place%%:*}s:" "$(echo $out)"
  [ "$out" = $'tenant_acme\ntenant_globex\ntenant_initech' ] || fail "the ${place%%:*}s are not those of the three tenants"
done
quietly probe "$TENANTCTL_NOSQL_URL" '{"listDatabases": 1, "nameOnly": true, "filter": {"name": {"$regex": "^tenant_"}}}'
printf '%-12s%s\n' 'databases:' "$(echo $out)"
[ "$out" = $'tenant_acme\ntenant_globex\ntenant_initech' ] || fail 'the databases are not those of the three tenants'
quietly tenantctl ops list --unfinished -o name
[ -z "$out" ] || fail 'an operation is left unfinished'

printf '\n%sthe demo passed in %d s%s\n' "$bold" "$SECONDS" "$plain"
