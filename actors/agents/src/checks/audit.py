# Runs pip-audit on the pinned requirements of the project, with the advisories of a file in the place of a service:
# there is no network, so a server of this process answers as OSV does. Each finding is one line of JSON.
import glob, http.server, io, json, os, re, subprocess, sys, threading, zipfile

sys.path.insert(0, "/opt/audit")
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*==\s*([A-Za-z0-9.!+_-]+)\s*(;.*|#.*|--hash.*|\\)?$")
NAMED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


def say(*finding):
    print(json.dumps(finding))


def advisories(path):
    """Advisories in OSV's format: an archive with one in a file, as osv.dev exports them, a list, or one a line."""
    with open(path, "rb") as opened:
        data = opened.read()
    if data[:2] == b"PK":
        archive = zipfile.ZipFile(io.BytesIO(data))
        return [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")]
    text = data.decode()
    return json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line]


def parsed(text):
    try:
        return Version(text)
    except InvalidVersion:
        return None


def is_hit(affected, version):
    if str(version) in affected.get("versions", []):
        return True
    for each in affected.get("ranges", []):
        if each.get("type") == "ECOSYSTEM" and is_within(each.get("events", []), version):
            return True
    return False


def is_within(events, version):
    """As OSV says: the events in the order of their versions, the last one that is reached decides."""
    at = lambda event: parsed(next(iter(event.values()))) if next(iter(event.values())) != "0" else Version("0.dev0")
    known = sorted((event for event in events if at(event) is not None), key=at)
    inside = False
    for event in known:
        if "introduced" in event and version >= at(event):
            inside = True
        elif "fixed" in event and version >= at(event):
            inside = False
        elif "last_affected" in event and version > at(event):
            inside = False
    return inside


class Service(http.server.BaseHTTPRequestHandler):
    known = {}

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, version = canonicalize_name(asked["package"]["name"]), parsed(asked["version"])
        hits = [one for one, affected in self.known.get(name, []) if version and is_hit(affected, version)]
        body = json.dumps({"vulns": hits} if hits else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def requirements():
    """The pinned requirements, each with its place; the others are said to be not audited."""
    pinned = {}
    for path in sorted(glob.glob("/workspace/requirements*.txt")):
        file = os.path.basename(path)
        with open(path, encoding="utf-8", errors="replace") as opened:
            for number, line in enumerate(opened, 1):
                line = line.strip()
                found = PINNED.match(line)
                if found:
                    pinned.setdefault((canonicalize_name(found[1]), found[3]), (file, number))
                elif NAMED.match(line):
                    say("dependencies", file, number, "not-pinned", "low", "not audited: it has no exact version")
    return pinned


def main():
    for one in advisories("/workspace/" + sys.argv[1]):
        for affected in one.get("affected", []):
            package = affected.get("package", {})
            if package.get("ecosystem") == "PyPI":
                Service.known.setdefault(canonicalize_name(package["name"]), []).append((one, affected))
    pinned = requirements()
    if pinned:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open("/tmp/pinned.txt", "w") as listed:
            listed.writelines("%s==%s\n" % each for each in pinned)
        command = [sys.executable, "-P", "-m", "pip_audit", "--no-deps", "--disable-pip", "-r", "/tmp/pinned.txt"]
        command += ["-s", "osv", "--osv-url", "http://127.0.0.1:%d/" % server.server_port, "-f", "json"]
        command += ["--progress-spinner", "off", "--cache-dir", "/tmp/audit"]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": "/opt/audit"}, stdout=subprocess.PIPE)
        for each in json.loads(done.stdout)["dependencies"]:
            file, number = pinned[(canonicalize_name(each["name"]), each["version"])]
            for one in each["vulns"]:
                fixed = ", ".join(one["fix_versions"]) or "no version"
                message = "%s %s: %s; fixed in %s" % (each["name"], each["version"], one["description"], fixed)
                say("dependencies", file, number, one["id"], "medium", message)
    say("end", "", 0, "", "", "")


main()
