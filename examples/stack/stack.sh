#!/usr/bin/env bash
# The part of run.sh that runs while devstack's servers are up. It starts everything else and ends it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/tenantctl-stack.XXXXXX")
started=() foreground=

# lives tells whether a process of a group is there; one that has ended and was not waited for does not count.
lives() { ps -A -o pgid= -o stat= | awk -v group="$1" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'; }

# end_group ends a process that start has started, with all that it started itself.
end_group() {
  local _
  lives "$1" || return 0
  kill -TERM "$1" 2>/dev/null || kill -TERM -- "-$1" 2>/dev/null || true
  for _ in {1..100}; do
    lives "$1" || return 0
    sleep 0.1
  done
  kill -KILL -- "-$1" 2>/dev/null || true
}

finish() {
  local code=$? i
  trap '' INT TERM HUP
  trap - EXIT
  if [ -n "$foreground" ]; then
    kill -TERM "$!" 2>/dev/null || true
    wait "$!" || true
  fi
  # The last one may have been started without a moment to note it.
  for i in ${!:-} $(printf '%s\n' "${started[@]}" | tac); do
    end_group "$i"
  done
  rm -rf "$folder"
  [ -z "$STACK_ENV_FILE" ] || rm -f "$STACK_ENV_FILE"
  exit "$code"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# run waits for a command so that a signal is not kept waiting.
run() {
  local code=0
  foreground=yes
  "$@" <&0 &
  wait "$!" || code=$?
  foreground=
  return "$code"
}

# logged runs a command and shows what it said where it fails.
logged() { # NAME COMMAND...
  local name=$1
  shift
  if ! run "$@" >"$folder/log/$name.log" 2>&1; then
    echo "stack: $name failed; it said:" >&2
    tail -n 20 "$folder/log/$name.log" >&2
    exit 1
  fi
}

# start runs a server in a process group of its own, out of reach of the terminal's Ctrl-C; last is its process.
start() { # NAME URL COMMAND...
  local name=$1 url=$2
  shift 2
  set -m
  "$@" >"$folder/log/$name.log" 2>&1 </dev/null &
  last=$!
  started+=("$last")
  set +m
  disown "$last" # somebody may end it to see what happens: that is nothing to report
  if ! run "$python" "$here/probe.py" wait "$last" "$url"; then
    echo "stack: $name does not answer at $url; it said:" >&2
    tail -n 20 "$folder/log/$name.log" >&2
    exit 1
  fi
}

find_python() {
  local program
  for program in python3 /usr/bin/python3; do
    if "$program" -c 'import django, psycopg2, pymongo, redis, gunicorn' 2>/dev/null; then
      command -v "$program"
      return
    fi
  done
  echo 'stack: no python3 here has Django and what the application needs; run: tools/setup.sh stack' >&2
  return 1
}

secret() { od -An -N 24 -tx1 /dev/urandom | tr -d ' \n'; }

# from_template fills ${NAME} in a file, as nginx's image does; nginx's own variables have no braces.
from_template() { # FILE NAME VALUE...
  local text
  text=$(cat "$1")
  shift
  while [ "$#" -gt 0 ]; do
    text=${text//"\${$1}"/$2}
    shift 2
  done
  printf '%s\n' "$text"
}

tenant_names() {
  printf 'name\nacme\n'
  [ "$STACK_TENANTS" -lt 2 ] || echo globex
  [ "$STACK_TENANTS" -lt 3 ] || seq -f 't%04.0f' 3 "$STACK_TENANTS"
}

write_configuration() {
  chmod 711 "$folder" # nginx's workers may be another user
  mkdir "$folder/log" "$folder/redis" "$folder/nginx" "$folder/nginx/tmp"
  cp -R "$here/migrations" "$folder/migrations"
  tenant_names >"$folder/tenants.csv"
  (
    umask 077
    secret >"$folder/assertion.keys"
    secret >"$folder/django.key"
    from_template "$here/redis.conf.template" PORT "$1" FOLDER "$folder/redis" PASSWORD "$redis_password" \
      APP_PASSWORD "$app_password" APP_COMMANDS "$app_commands" >"$folder/redis.conf"
    from_template "$here/tenantctl.yaml.template" POSTGRES_URL "$TENANTCTL_POSTGRES_URL" \
      NOSQL_URL "$TENANTCTL_NOSQL_URL" REDIS_URL "$STACK_REDIS_URL" >"$STACK_CONFIG"
  )
}

start_resolvers() { # PORT...
  local port
  for port; do
    start "resolver-$port" "http://127.0.0.1:$port/readyz" \
      "$tenantctl" --config "$STACK_CONFIG" resolver --listen "127.0.0.1:$port"
    STACK_RESOLVERS+=${STACK_RESOLVERS:+ }http://127.0.0.1:$port
    STACK_RESOLVER_PIDS+=${STACK_RESOLVER_PIDS:+ }$last
  done
}

start_applications() { # PORT...
  local port
  for port; do
    start "gunicorn-$port" "http://127.0.0.1:$port/livez" \
      "$python" -m gunicorn --config "$here/app/gunicorn.conf.py" --bind "127.0.0.1:$port" shop.wsgi
    STACK_APPS+=${STACK_APPS:+ }http://127.0.0.1:$port
    STACK_APP_PIDS+=${STACK_APP_PIDS:+ }$last
  done
}

# servers lists addresses as nginx's upstream wants them.
servers() { printf 'server %s; ' "${@#http://}"; }

start_nginx() { # PORT
  # shellcheck disable=SC2086 # both are lists
  from_template "$here/nginx.conf.template" LISTEN "127.0.0.1:$1" RESOLVERS "$(servers $STACK_RESOLVERS)" \
    APPS "$(servers $STACK_APPS)" >"$folder/nginx/tenants.conf"
  cp "$here/nginx.conf" "$folder/nginx/nginx.conf"
  STACK_URL=http://127.0.0.1:$1
  start nginx "$STACK_URL/" "$(PATH=$PATH:/usr/sbin command -v nginx)" -e stderr -p "$folder/nginx" -c nginx.conf
}

# The application's environment: one login, which may become each tenant and is nobody itself.
application_environment() {
  local at=${TENANTCTL_POSTGRES_URL#*@}
  export APP_POSTGRES_URL=postgres://app:$app_password@$at APP_MONGODB_URL=$TENANTCTL_NOSQL_URL
  export APP_REDIS_URL=redis://app:$app_password@${STACK_REDIS_URL#*@}
  export APP_ASSERTION_KEY_FILE=$folder/assertion.keys APP_SECRET_KEY_FILE=$folder/django.key
  export PYTHONPATH=$here/app:$repository/sdk/django PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=shop.settings
}

# write_grant makes a command that lets the application into tenants that were created since.
write_grant() {
  cat >"$STACK_GRANT" <<END
#!/bin/sh
export TENANTCTL_POSTGRES_URL='$TENANTCTL_POSTGRES_URL' APP_POSTGRES_URL='$APP_POSTGRES_URL'
exec '$python' '$here/grant.py'
END
  chmod 700 "$STACK_GRANT"
}

variables() {
  local name
  for name in STACK_URL STACK_BASE_DOMAIN STACK_RESOLVERS STACK_APPS STACK_RESOLVER_PIDS STACK_APP_PIDS \
    STACK_REDIS_URL STACK_CONFIG STACK_DIR STACK_GRANT \
    TENANTCTL_POSTGRES_URL TENANTCTL_POSTGRES_ALLOW_SUPERUSER TENANTCTL_NOSQL_URL; do
    printf "%s='%s'\n" "$name" "${!name//\'/\'\\\'\'}"
  done
}

welcome() {
  local at=${STACK_URL#http://127.0.0.1} name
  echo
  for name in $(sed -n '2,4p' "$folder/tenants.csv"); do
    echo "  http://$name.$STACK_BASE_DOMAIN$at/"
  done
  echo "  http://nobody.$STACK_BASE_DOMAIN$at/    (no tenant of this name)"
  cat <<END

In another terminal:
  export TENANTCTL_CONFIG=$STACK_CONFIG
  $tenantctl suspend globex --reason 'Unpaid since May.'
  $tenantctl resume globex
  $tenantctl create initech && $STACK_GRANT
END
}

main() {
  python=$(find_python)
  tenantctl=$STACK_BIN/tenantctl
  local ports redis_password app_password app_commands
  read -r -a ports < <("$python" "$here/probe.py" free $((4 + STACK_RESOLVER_COUNT)))
  redis_password=$(secret) app_password=$(secret)
  app_commands='resetchannels -@all +@read +@write +@connection +multi +exec -@dangerous -scan -randomkey -dbsize'
  STACK_BASE_DOMAIN=localhost STACK_DIR=$folder STACK_CONFIG=$folder/tenantctl.yaml STACK_GRANT=$folder/grant
  STACK_REDIS_URL=redis://:$redis_password@127.0.0.1:${ports[0]}/0
  STACK_RESOLVERS='' STACK_RESOLVER_PIDS='' STACK_APPS='' STACK_APP_PIDS=''
  write_configuration "${ports[0]}"
  application_environment

  start redis "tcp://127.0.0.1:${ports[0]}" redis-server "$folder/redis.conf"
  echo "stack: creating $STACK_TENANTS tenants" >&2
  logged init "$tenantctl" --config "$STACK_CONFIG" init
  logged create "$tenantctl" --config "$STACK_CONFIG" create --file "$folder/tenants.csv"
  write_grant
  logged grant "$STACK_GRANT"
  start_resolvers "${ports[@]:4}"
  # shellcheck disable=SC2046 # the others are filled when they are visited
  logged seed "$python" -m django tenant_exec $(sed -n '2,3s/^/--tenant /p' "$folder/tenants.csv") seed
  start_applications "${ports[@]:1:2}"
  start_nginx "${STACK_PORT:-${ports[3]}}"

  local name
  while IFS='=' read -r name _; do
    export "${name?}"
  done < <(variables)
  if [ -n "$STACK_ENV_FILE" ]; then
    (umask 077 && variables >"$STACK_ENV_FILE.part" && mv "$STACK_ENV_FILE.part" "$STACK_ENV_FILE")
  fi
  if [ "$#" -gt 0 ]; then
    run "$@"
    return
  fi
  welcome
  run sleep infinity
}

main "$@"
