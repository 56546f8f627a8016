# The server without torch: docker build --build-arg RUNTIME=cpu|gpu --tag ocella .
# Run: docker run --read-only --tmpfs /tmp --publish 127.0.0.1:8001:8001 --publish 127.0.0.1:8000:8000 ocella
# deploy/image/prove.py carries out every line below in a root of its own and asks the server that comes out.
ARG DEBIAN=trixie-slim

FROM debian:${DEBIAN} AS build
ARG RUNTIME=cpu
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv
WORKDIR /src
COPY pyproject.toml README.md LICENSE ocella.py ./
COPY export export
COPY models models
COPY pipelines pipelines
COPY protos protos
COPY serving serving
# pip leaves once it is done: the image installs nothing any more.
RUN python3 -m venv /opt/ocella \
    && /opt/ocella/bin/pip install --no-cache-dir --disable-pip-version-check ".[${RUNTIME}]" \
    && /opt/ocella/bin/pip uninstall --yes pip

FROM debian:${DEBIAN}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Ocella" \
    org.opencontainers.image.description="Vision models as a measured, monitored gRPC service" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision="${REVISION}"
# Nobody becomes somebody else inside: the base's set-uid programs (su, mount, passwd) lose that bit.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/log/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin ocella \
    && mkdir /models \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /opt/ocella /opt/ocella
# With RUNTIME=gpu the CUDA libraries come with the wheels; the driver comes from the host (docker run --gpus all).
ENV PATH=/opt/ocella/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
EXPOSE 8001 8000
STOPSIGNAL SIGTERM
# Python alone: `ocella health` takes 0.9 s of CPU time to start, this 0.1 s, every ten seconds.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["ocella"]
# A container must listen on every interface to be reached at all, so this says aloud that it does so without TLS or
# tokens: publish the ports to trusted networks only. Without --models DIR it serves the models that are built in.
CMD ["serve", "--host", "0.0.0.0", "--insecure"]
