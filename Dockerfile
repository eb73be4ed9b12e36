# docker build -t roundhouse .                              computes on CPUs
# docker build -t roundhouse:cuda --build-arg VARIANT=cuda .    with torch for NVIDIA GPUs
# docker run --read-only --tmpfs /tmp -p 127.0.0.1:8080:8080 -v models:/models \
#   -e ROUNDHOUSE_KEYS__ANONYMOUS='["infer"]' roundhouse        without a key or this it does not start
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ARG VARIANT=cpu
# torch of PyPI brings CUDA's libraries, several GB of them; this index has it without.
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/roundhouse
ENV PATH=/opt/roundhouse/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src

# First what changes rarely and takes long.
COPY constraints.txt ./
RUN pip install -c constraints.txt torch $(test "$VARIANT" = cuda || echo "--index-url $CPU_INDEX")
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY gateway gateway
RUN pip install -c constraints.txt '.[demo]'

FROM python:${PYTHON}-slim-bookworm
# tini: as process 1 a server would ignore signals until it has handlers, and never bury orphans.
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 roundhouse \
    && useradd --uid 10001 --gid 10001 --home-dir /var/cache/roundhouse --no-create-home roundhouse \
    && install -d -o 10001 -g 10001 /models /var/cache/roundhouse
COPY --from=build /opt/roundhouse /opt/roundhouse
# Nothing of it is a setting: those of the environment would win over a configuration file's.
ENV PATH=/opt/roundhouse/bin:$PATH \
    HOME=/var/cache/roundhouse \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /var/cache/roundhouse
VOLUME ["/models", "/var/cache/roundhouse"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=60s --interval=10s --timeout=5s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/livez', timeout=4)"]
ENTRYPOINT ["tini", "--", "roundhouse"]
CMD ["serve", "--host", "0.0.0.0", "--models-dir", "/models"]
