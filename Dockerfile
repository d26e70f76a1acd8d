# The image of worker and loadgen. From a registry mirror: --build-arg BASE_IMAGE=mirror/python:3.13-slim
# Behind a proxy with a certificate of its own: --secret id=ca_bundle,src=/path/to/ca-certificates.crt
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The locks alone first: a changed source line does not install everything again.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN --mount=type=secret,id=ca_bundle,target=/run/ca.crt \
    if [ -s /run/ca.crt ]; then export PIP_CERT=/run/ca.crt; fi \
    && python3 -m venv --without-pip /opt/taskrig \
    && python3 -m pip --python /opt/taskrig/bin/python install --require-hashes --only-binary :all: -r requirements/runtime.txt \
    && python3 -m pip install --require-hashes --only-binary :all: -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY loadgen loadgen
RUN python3 -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /tmp/wheel . \
    && python3 -m pip --python /opt/taskrig/bin/python install --no-deps --no-index /tmp/wheel/*.whl

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="taskrig" \
      org.opencontainers.image.description="Runs plain JSON tasks from a Redis list; with its load generator" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Nothing in here installs anything: pip, and the copy of it that Python itself carries, go.
RUN python3 -m pip uninstall --yes --quiet --root-user-action=ignore pip \
    && python3 -c "import ensurepip, os, shutil; shutil.rmtree(os.path.dirname(ensurepip.__file__))"
COPY --from=build /opt/taskrig /opt/taskrig
# The server listens on every address of the container; what is published decides who may ask.
ENV PATH=/opt/taskrig/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TASKRIG_HTTP__HOST=0.0.0.0
# config.yaml here is read, and packages beside it can be named in its `handlers`.
WORKDIR /app
COPY config.yaml ./
USER 10001:10001
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["worker", "healthcheck"]
# Exec form: the worker is PID 1 and gets the stop signal itself. To a PID 1 without a handler the
# kernel delivers none, so env holds the signals back until Python can take them, and is the worker then.
ENTRYPOINT ["env", "--block-signal=INT,TERM,HUP", "worker"]
CMD ["run"]
