# syntax=docker/dockerfile:1
# The gateway without extras: hash-locked dependencies, kernels compiled in the build, no root.
#
#   docker build -t edgetwin .
#   docker run --read-only --tmpfs /tmp -p 8787:8787 -v ./edgetwin.yaml:/etc/edgetwin/edgetwin.yaml:ro \
#     -v edgetwin-state:/var/lib/edgetwin edgetwin
#
# In the file: state_dir: /var/lib/edgetwin, and http: {listen: "0.0.0.0:8787"} so that the port is reachable.

ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/ requirements/
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements/build.txt \
 && python -m venv /opt/edgetwin \
 && /opt/edgetwin/bin/pip install --require-hashes --only-binary :all: -r requirements/gateway.txt
COPY pyproject.toml README.md LICENSE ./
COPY edgetwin/ edgetwin/
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && /opt/edgetwin/bin/pip install --no-deps --no-index /dist/edgetwin-*.whl \
 && /opt/edgetwin/bin/pip uninstall --yes pip

FROM python:${PYTHON}
# A fixed CPU name and no optional features, so that the kernels compiled here are valid on whatever machine
# runs the image. Who builds on the machine that will run it may leave both out.
ENV PATH=/opt/edgetwin/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    EDGETWIN_CACHE=/var/cache/edgetwin \
    NUMBA_CPU_NAME=generic \
    NUMBA_CPU_FEATURES=""
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin edgetwin \
 && install -d -o edgetwin -g edgetwin -m 0700 /var/lib/edgetwin /var/cache/edgetwin \
 && install -d /etc/edgetwin
COPY --from=build /opt/edgetwin /opt/edgetwin
USER 10001:10001
RUN edgetwin warmup
# numba opens a cache only where it may write: as a volume it stays usable under --read-only.
VOLUME ["/var/lib/edgetwin", "/var/cache/edgetwin"]
EXPOSE 8787
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8787/healthz', timeout=2)"]
ENTRYPOINT ["edgetwin"]
CMD ["run", "/etc/edgetwin/edgetwin.yaml"]
