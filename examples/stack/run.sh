#!/usr/bin/env bash
# The reference stack on this machine, without Docker: PostgreSQL and a MongoDB-compatible server by devstack,
# redis-server, resolvers, two gunicorns with a Django application, and nginx in front. docs/stack.md tells about it.
#
#   examples/stack/run.sh [--tenants N] [--resolvers N] [--port P] [--env-file FILE] [-- COMMAND...]
#
# --tenants N      how many tenants are created (2): acme, globex, t0003, t0004 ...
# --resolvers N    how many resolvers run (1)
# --port P         nginx's port; a free one is chosen otherwise
# --env-file FILE  where the addresses are written once everything answers: lines of NAME='VALUE'
#
# It runs COMMAND with these variables, or waits for Ctrl-C. At its end every process that it started has ended and
# its temporary folder is gone. STACK_BIN names a folder with devstack and tenantctl; without it both are built.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)

wrong() {
  echo "run.sh: $1; usage: run.sh [--tenants N] [--resolvers N] [--port P] [--env-file FILE] [-- COMMAND...]" >&2
  exit 2
}

tenants=2 resolvers=1 port= env_file=
while [ "$#" -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    --tenants | --resolvers | --port | --env-file) [ "$#" -ge 2 ] || wrong "$1 needs a value" ;;
    *) wrong "there is no $1" ;;
  esac
  case $1 in
    --env-file) env_file=$2 ;;
    *) [[ $2 =~ ^[1-9][0-9]{0,6}$ ]] || wrong "$1 needs a number" ;;&
    --tenants) tenants=$2 ;;
    --resolvers) resolvers=$2 ;;
    --port) port=$2 ;;
  esac
  shift 2
done

if [ -n "$port" ] && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
  echo "run.sh: port $port is in use; choose another by --port, or make stack PORT=9000" >&2
  exit 2
fi

if [ -z "${STACK_BIN:-}" ]; then
  STACK_BIN=$repository/bin
  make -s -C "$repository" bin/devstack build >&2 &
  trap 'kill "$!"; wait "$!"; exit 130' INT TERM HUP
  wait "$!"
  trap - INT TERM HUP
fi
export STACK_BIN

# What somebody has set for servers of their own does not concern the stack.
for variable in $(compgen -e TENANTCTL_ || true); do
  case $variable in
    TENANTCTL_TEST_NOSQL_URL) ;; # devstack's: a real MongoDB
    *) unset "$variable" ;;
  esac
done

# devstack takes this process over: what ends it, ends stack.sh first and the servers then.
STACK_TENANTS=$tenants STACK_RESOLVER_COUNT=$resolvers STACK_PORT=$port STACK_ENV_FILE=$env_file \
  exec "$STACK_BIN/devstack" run --fast -- "$here/stack.sh" "$@"
