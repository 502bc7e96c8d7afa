"""What the specification promises, asked of the running service. This file is not written by a model."""

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CONTRACT = json.loads((HERE / "contract.json").read_text(encoding="utf-8"))
ENDPOINTS, PAGES = CONTRACT["endpoints"], CONTRACT["pages"]
# No module of the project stands in for what asks it.
assert HERE not in Path(http.client.__file__).parents


def numbers(cases):
    return [str(number) for number, _ in enumerate(cases, 1)]


@pytest.fixture(scope="module")
def port():
    # With the standard library only, as in the image of the project.
    command = [sys.executable, "-E", "-S", "-B", str(HERE / "server.py")]
    variables = {**os.environ, "HOST": "127.0.0.1", "PORT": "0"}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as server:
        # What an app prints while it is loaded comes before.
        ready = next((line for line in server.stdout if line.startswith("listening on port ")), None)
        if ready is None:
            again = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=10, check=False)
            pytest.fail("the service does not start: " + again.stderr[-2000:])
        yield int(ready.split()[-1])
        server.kill()


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        return response.status, response.headers.get_content_type(), response.read()
    finally:
        connection.close()


def test_health(port):
    assert ask(port, "GET", "/health")[0] == 200


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=numbers(ENDPOINTS))
def test_endpoint(port, endpoint):
    status, kind, body = ask(port, endpoint["method"], endpoint["path"], endpoint["body"])
    assert status == endpoint["status"], (endpoint, body)
    if not endpoint["fields"]:
        return
    assert kind == "application/json"
    value = json.loads(body)
    assert isinstance(value, dict), (endpoint, value)
    assert [name for name in endpoint["fields"] if name not in value] == [], (endpoint, value)


@pytest.mark.parametrize("page", PAGES, ids=numbers(PAGES))
def test_page(port, page):
    status, kind, body = ask(port, "GET", "/" + page["path"])
    assert (status, kind) == (200, "text/html"), page
    assert b"<title>" in body, page
