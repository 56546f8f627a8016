# The server without torch: docker build --build-arg RUNTIME=cpu|gpu --tag ocella .
# Run: docker run --publish 8001:8001 --publish 8000:8000 --volume /path/to/models:/models:ro ocella
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG RUNTIME=cpu
WORKDIR /src
COPY pyproject.toml README.md LICENSE ocella.py ./
COPY export export
COPY pipelines pipelines
COPY protos protos
COPY serving serving
RUN python -m venv /opt/ocella \
    && /opt/ocella/bin/pip install --no-cache-dir --disable-pip-version-check ".[${RUNTIME}]"

FROM python:${PYTHON}-slim
# With RUNTIME=gpu the CUDA libraries come with the wheels; the driver comes from the host (docker run --gpus all).
ENV PATH=/opt/ocella/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin ocella && mkdir /models
COPY --from=build /opt/ocella /opt/ocella
USER 10001:10001
EXPOSE 8001 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["ocella", "health", "--server", "127.0.0.1:8001"]
ENTRYPOINT ["ocella"]
# A container must listen on every interface to be reached at all, so this says aloud that it does so without TLS or
# tokens: publish the ports to trusted networks only.
CMD ["serve", "--models", "/models", "--host", "0.0.0.0", "--insecure"]
