"""Real servers under requests of mixed tenants: gunicorn with sync and gthread workers, and uvicorn."""

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from tests.project import KEYS, TENANTS

from tenantctl_django.assertion import sign
from tests.test_postgresql import seed

GUNICORN = [sys.executable, "-m", "gunicorn", "--workers", "2", "--log-level", "critical", "tests.wsgi"]
SERVERS = {
    "sync": [*GUNICORN, "--worker-class", "sync"],
    "gthread": [*GUNICORN, "--worker-class", "gthread", "--threads", "4"],
    "uvicorn": [sys.executable, "-m", "uvicorn", "--log-level", "critical", "tests.asgi:application"],
}
REQUESTS, THREADS = 100, 6
PATHS = ["/plain", "/atomic", "/requests", "/async"]


class ServersTest(unittest.TestCase):
    def setUp(self):
        seed()

    def test_no_answer_is_of_a_wrong_tenant(self):
        servers = {name: self.start(name, command) for name, command in SERVERS.items()}
        wrong, answers = [], {name: set() for name in servers}

        def work(number):
            chance = random.Random(number)
            tokens = {t.name: sign(t, "x.example.com", KEYS[number % 2]) for t in TENANTS.values()}
            for _ in range(REQUESTS):
                name, tenant = chance.choice([*servers]), chance.choice([*TENANTS.values()])
                path = chance.choice(PATHS)
                headers = {"Host": "x.example.com", "X-Tenant-Assertion": tokens[tenant.name]}
                headers["X-Tenant-Schema"] = chance.choice([*TENANTS.values()]).schema.encode()  # nobody reads it
                kind = chance.random()
                if kind < 0.1:
                    del headers["X-Tenant-Assertion"]
                elif kind < 0.2:
                    path = "/failing"
                status, body = ask(servers[name], path, headers)
                if kind < 0.2:
                    if status != (403 if kind < 0.1 else 500):
                        wrong.append((name, path, status, body))
                    continue
                got = json.loads(body) if status == 200 else {}
                if (got.get("names"), got.get("role"), got.get("tenant")) != ([tenant.name], tenant.role, tenant.name):
                    wrong.append((name, path, tenant.name, status, body))
                answers[name].add((tenant.name, got.get("pid")))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong[:3], [])
        for name, got in answers.items():
            self.assertEqual({tenant for tenant, _ in got}, set(TENANTS))
            if name != "uvicorn":  # where Django takes a thread, and so a connection, for each request
                # Else nothing was proved: connections were shared by tenants.
                self.assertLess(len({pid for _, pid in got}), len(got), name)

    def start(self, name, command):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        where = ["--port", str(port)] if name == "uvicorn" else ["--bind", f"127.0.0.1:{port}"]
        said = tempfile.TemporaryFile()
        self.addCleanup(said.close)
        process = subprocess.Popen([*command, *where], env=os.environ, stdout=said, stderr=said)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        for _ in range(600):
            try:
                status, _ = ask(port, "/livez", {})
                self.assertEqual(status, 200)
                return port
            except OSError:
                time.sleep(0.05)
            if process.poll() is not None:
                break
        said.seek(0)
        raise AssertionError(f"{name} does not serve: {said.read().decode()}")


def ask(port, path, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
