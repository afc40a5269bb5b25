# One image for every process of Connect; compose.yaml and k8s/ set the command. docs/image.md lists its content.
#
# requirements.txt pins Python packages by version and hash. The system is Debian 12 with its security updates;
# for a reproducible base pass its digest: --build-arg BASE=debian@sha256:...
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update -q \
 && apt-get install -q -y --no-install-recommends python3-venv
COPY requirements.txt /
RUN python3 -m venv /opt/connect \
 && /opt/connect/bin/pip install -q --disable-pip-version-check --no-cache-dir --no-compile --require-hashes \
    -r /requirements.txt \
 && /opt/connect/bin/pip uninstall -q -y pip setuptools

FROM ${BASE}
# GeoDjango loads GDAL and GEOS. Half of the image is dependencies of Debian's GDAL for the formats that it reads.
RUN apt-get update -q \
 && apt-get install -q -y --no-install-recommends python3 tzdata ca-certificates libgdal32 libgeos-c1v5 \
 && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/connect/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Threads share malloc arenas; with one arena per thread, memory grows for hours.
ENV MALLOC_ARENA_MAX=2
COPY --from=build /opt/connect /opt/connect
WORKDIR /srv/connect
COPY . .
RUN SECRET_KEY=for-the-files-alone python manage.py collectstatic --noinput --verbosity 0 \
 && python -m compileall -q /opt/connect /srv/connect
USER 10001:10001
EXPOSE 8000 50051 50052
# Liveness of a web process. compose.yaml and k8s/ replace it for other commands.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["python", "-c", "\
from http.client import HTTPConnection as Web; web = Web('127.0.0.1', 8000, timeout=4); \
web.request('GET', '/health/live'); assert web.getresponse().status == 200"]
CMD ["gunicorn", "--config", "python:connect.gunicorn", "connect.asgi"]
