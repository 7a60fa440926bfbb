# Toolgate in an image of its own: the binary, the libraries it is linked to, certificates, one user. No shell, no package
# manager. Build it with the repository as context:  docker build --tag toolgate .

ARG RUST=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST}-slim-${DEBIAN} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# What .dockerignore lets through: the workspace, whose members cargo wants to see.
COPY . .
# `release` builds in a fraction of the time: --build-arg PROFILE=release.
ARG PROFILE=dist
# Exactly what Cargo.lock says. Registry and target folder outlive a build, so the next one compiles what changed.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --profile "$PROFILE" --package toolgate \
    && install -D "target/$PROFILE/toolgate" /image/usr/local/bin/toolgate
RUN sh deploy/image.sh /image && install -d -m 0700 /homes/toolgate

FROM scratch
COPY --from=build /image /
# The home: a volume of this user, for it alone. On Postgres nothing is written there while the gateway serves. What is
# copied is the folder around it, which is there already and stays root's: engines make a folder of their own otherwise.
COPY --from=build --chown=65532:65532 /homes /var/lib
ENV TOOLGATE_HOME=/var/lib/toolgate PATH=/usr/local/bin
USER 65532:65532
VOLUME /var/lib/toolgate
EXPOSE 8484 8485
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["toolgate", "health", "--ready"]
ENTRYPOINT ["toolgate"]
CMD ["serve"]
LABEL org.opencontainers.image.title="Toolgate" \
      org.opencontainers.image.description="One gate between AI agents and everything they can touch" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
