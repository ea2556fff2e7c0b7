"""What stack.sh asks: `probe.py free N` prints ports that nobody uses, `probe.py wait PID URL` waits until a process
answers at an address and fails where it has ended before."""

import http.client
import os
import socket
import sys
import time
from urllib.parse import urlsplit

PATIENCE = 60  # seconds


def free(number):
    """Ports below those that the system gives to outgoing connections. Stacks that start at the same time look in
    different places: a port is not taken between this and its use."""
    found, start = [], os.getppid() % 700 * 20
    for offset in range(14000):
        port = 18000 + (start + offset) % 14000
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == number:
            return found
    sys.exit(f"there are no {number} free ports")


def answers(url):
    where = urlsplit(url)
    if where.scheme == "tcp":
        socket.create_connection((where.hostname, where.port), timeout=5).close()
        return True
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=5)
    try:
        connection.request("GET", where.path or "/")
        return connection.getresponse().status < 500
    finally:
        connection.close()


def wait(pid, url):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # it lives, as another user
        try:
            if answers(url):
                return True
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    if sys.argv[1] == "free":
        print(*free(int(sys.argv[2])))
    else:
        sys.exit(not wait(int(sys.argv[2]), sys.argv[3]))
