#!/bin/sh
# Reloads nginx or HAProxy, and waits until no worker is left that knows the old file: the signal alone returns before.
#
#   reload.sh PIDFILE SIGNAL     nginx.pid HUP, haproxy.pid USR2
#
# worker_shutdown_timeout of nginx and hard-stop-after of HAProxy end what old workers still do.
[ -e "$1" ] || exit 0 # it will read the new file when it starts
master=$(cat "$1")
old=$(pgrep -P "$master") || exit 0
kill -"$2" "$master" || exit 1
for worker in $old; do
	while kill -0 "$worker" 2>/dev/null; do
		sleep 0.02
	done
done
