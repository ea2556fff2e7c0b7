# What hidden preparations of the pages in docs/ call (<!-- test: ... -->): see CONTRIBUTING.md.

# The line is the page's, for the script has each line where the page has it.
set -E
trap 'code=$? at=$LINENO
  [ ${#BASH_LINENO[@]} -lt 2 ] || at=${BASH_LINENO[-2]}
  echo "line $at ends with $code: $BASH_COMMAND" >&2' ERR
trap 'kill $(jobs -p) 2> /dev/null || :' EXIT

# fleet makes a catalog and tenants with the example's migrations.
fleet() {
  cp -r "$CHECKOUT/migrations/example" migrations
  tenantctl init
  for name; do tenantctl create "$name"; done
}

# migration adds a file for PostgreSQL: its number and name, and its SQL.
migration() {
  printf -- '-- +goose Up\n%s\n\n-- +goose Down\nSELECT 1;\n' "$2" > "migrations/postgres/$1.sql"
}

# instead lets commands that name an id of the page mean another one.
instead() {
  eval "tenantctl() { command tenantctl \"\${@//$1/$2}\"; }"
}

# interrupted kills a create half way; ID is the operation.
interrupted() {
  TENANTCTL_TEST_FAULT=kill@create/postgres/after command tenantctl create "$1" || :
  ID=$(command tenantctl ops list --unfinished --jq '.[0].id')
}

# failed_run makes a run in which globex fails, with further flags, and takes the cause away; the id stands for that run
# from then on.
failed_run() {
  local id=$1 products="${TENANTCTL_NAMING_PREFIX}globex.products" n=$((90 + $(ls migrations/postgres | wc -l)))
  shift
  psql -qX "$TENANTCTL_POSTGRES_URL" -c "INSERT INTO $products (sku, name, price_cents) VALUES ('$n', 'One', 1)"
  migration "000${n}_product" "INSERT INTO products (sku, name, price_cents) VALUES ('$n', 'The one', 1);"
  ! command tenantctl migrate "$@" || { echo "the run did not fail" >&2; return 1; }
  psql -qX "$TENANTCTL_POSTGRES_URL" -c "DELETE FROM $products WHERE sku = '$n'"
  instead "$id" "$(command tenantctl ops list --jq '.[0].id')"
}
