# syntax=docker/dockerfile:1
#
# The worker for machines with NVIDIA GPUs: what paints, without the screens and without the Azure SDK.
#
#   az acr login --name NAME
#   docker build --platform linux/amd64 --tag NAME.azurecr.io/stylizer:1.0 .
#   docker push NAME.azurecr.io/stylizer:1.0
#   stylizer azure init --image NAME.azurecr.io/stylizer:1.0 …
#
# Machines of a pool that infra/ made pull it with their own identity (AcrPull); no password is kept anywhere.
#
# A plain Python image is enough: torch's wheels bring the CUDA libraries, PyAV's bring FFmpeg, and the driver comes from the
# machine (580 or newer for today's torch). An NVIDIA base image would bring CUDA a second time: several gigabytes.

FROM python:3.12-slim-trixie AS needs
WORKDIR /src
COPY pyproject.toml .
# What the worker imports, of all that stylizer depends on; in a stage of its own, so that a change of the code does not
# make everybody download torch again.
ARG NEEDS="av filelock numpy pillow platformdirs psutil safetensors torch"
RUN python -c "import re, sys, tomllib; \
  wanted = set(sys.argv[1].split()); \
  listed = tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']; \
  print(*(one for one in listed if re.split(r'[^A-Za-z0-9_.-]', one)[0] in wanted), sep='\n')" "$NEEDS" > requirements.txt

FROM python:3.12-slim-trixie AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE config.toml ./
COPY backends backends
COPY stylizer stylizer
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:3.12-slim-trixie
COPY --from=needs /src/requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --requirement /tmp/requirements.txt
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install --no-cache-dir --no-deps /wheel/*.whl \
    && python -P -c "import stylizer.transfer, stylizer.worker"
# Batch runs it as the task's own user, other hosts as this one; either way nothing here may be written but /tmp.
ENV HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
