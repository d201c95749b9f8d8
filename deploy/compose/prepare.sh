#!/bin/bash
# What the services of docker-compose.yml need before they start, each in a volume of its own, so that none
# sees another's secret. Keys and passwords are made once and kept; the configuration and the bot's token
# are taken from the host at each start. Every file is written beside its place, brought to disk and renamed.
#
#   prepare.sh keys       makes keys, passwords and configuration (before nats-server starts)
#   prepare.sh streams    makes the streams and consumers (when it runs)
#
# A secret is never printed.
set -euo pipefail
umask 077

own=/etc/holdfast
given=/usr/share/holdfast/compose
# How long the simulated Discord may take to listen, in seconds.
simulator_within=20

# put FILE: what comes on standard input becomes the file, whole or not at all.
put() {
  cat >"$1.new"
  sync "$1.new"
  mv "$1.new" "$1"
  sync "$(dirname "$1")"
}

# Whether the simulated Discord of the profile `demo` listens.
is_demo() {
  for ((second = 0; second < simulator_within; second++)); do
    if (exec 3<>/dev/tcp/discord-sim/7001) 2>/dev/null; then return 0; fi
    sleep 1
  done
  return 1
}

keys() {
  local runners=(container) config=gateway.toml token=${DISCORD_TOKEN:-} name
  if [[ -z $token ]]; then
    if ! is_demo; then
      echo "DISCORD_TOKEN is not set: put it into .env (.env.example shows how), or start the demo," >&2
      echo "which needs no account: docker compose --profile demo up" >&2
      return 1
    fi
    echo "no DISCORD_TOKEN: the gateway speaks to the simulated Discord"
    config=gateway.demo.toml token=$DEMO_TOKEN
    runners+=(demo)
  fi
  for name in ${HOLDFAST_RUNNERS//,/ }; do runners+=("$name"); done

  # Where Jaeger is on this machine.
  sed "s/127\.0\.0\.1:16686/127.0.0.1:${JAEGER_PORT:-16686}/" "$given/$config" | put "$own/gateway/gateway.toml"
  put "$own/gateway/discord.token" <<<"$token"
  gateway-svc --config "$own/gateway/gateway.toml" provision --out "$own/keys" --all-projects \
    "${runners[@]/#/--runner=}" >/dev/null

  if [[ ! -s $own/postgres/password ]]; then
    head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' | put "$own/postgres/password"
  fi
  put "$own/gateway/pgpass" <<<"postgres:5432:holdfast:holdfast:$(<"$own/postgres/password")"
  put "$own/gateway/gateway.nk" <"$own/keys/gateway.nk"
  put "$own/runner/runner-container.nk" <"$own/keys/runner-container.nk"
  if [[ $config == gateway.demo.toml ]]; then
    put "$own/demo-runner/runner-demo.nk" <"$own/keys/runner-demo.nk"
  fi
  # Public keys, and what each may do.
  put "$own/nats/users.conf" <"$own/keys/users.conf"
  echo "keys for: admin gateway ${runners[*]}"
}

streams() {
  local file name runners=()
  for file in "$own"/keys/runner-*.nk; do
    name=${file##*/runner-}
    runners+=("--runner=${name%.nk}")
  done
  export NATS_NKEY_FILE=$own/keys/admin.nk
  exec gateway-svc --config "$own/gateway/gateway.toml" provision "${runners[@]}"
}

case ${1:-} in
keys) keys ;;
streams) streams ;;
*)
  echo "usage: prepare.sh keys | streams" >&2
  exit 64
  ;;
esac
