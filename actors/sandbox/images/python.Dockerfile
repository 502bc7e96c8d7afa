# The Python image for those who have a registry. It is adopted, not used by its name:
#   docker build -t sandbox-python -f actors/sandbox/images/python.Dockerfile actors/sandbox/images
#   docker export "$(docker create sandbox-python)" | orrery sandbox build python --from -
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip tini
COPY python.txt audit.txt ./
RUN python3 -m pip install --require-hashes --no-deps --only-binary :all: --target /opt/python -r python.txt
RUN python3 -m pip install --require-hashes --no-deps --only-binary :all: --target /opt/audit -r audit.txt
RUN apt-get purge -y --auto-remove python3-pip
# Some files of the packages are templates that no Python compiles.
RUN python3 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3.11 /opt/python /opt/audit || true
