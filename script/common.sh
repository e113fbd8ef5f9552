# Shared by the scripts: steps with progress, durations and reasons. Sourced, not run.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LOG_DIR=${SLIPWAY_LOG_DIR:-/var/log/slipway}
BINARY=/usr/local/bin/slipway

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then BLUE=$'\e[1;34m' RED=$'\e[1;31m' PLAIN=$'\e[0m'; else BLUE='' RED='' PLAIN=''; fi

say() { printf '       %s\n' "$*" >&2; }
die() { printf '%s !     %s%s\n' "$RED" "$1" "$PLAIN" >&2; shift; for line in "$@"; do printf '       %s\n' "$line" >&2; done; exit 1; }

# step NAME LOG COMMAND...: run with its output in LOG, show that it goes on, say how long it took.
step() {
  local name=$1 log=$LOG_DIR/$2.log; shift 2
  local start=$SECONDS pid status=0 shown=0
  mkdir -p "$LOG_DIR"
  printf '%s----->%s %s\n' "$BLUE" "$PLAIN" "$name" >&2
  "$@" >"$log" 2>&1 &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    read -r -t 1 <> <(:) || true
    shown=$((shown + 1))
    # A line every ten seconds: enough to see that it lives, little enough for a log.
    if [ $((shown % 10)) = 0 ]; then say "$((SECONDS - start))s  $(tail -n 1 "$log" 2>/dev/null | tr -d '\r' | cut -c 1-90)"; fi
  done
  wait "$pid" || status=$?
  if [ "$status" != 0 ]; then
    tail -n 20 "$log" | sed 's/^/       /' >&2
    die "$name failed with exit code $status" "the whole log: $log"
  fi
  STEPS+=("$(printf '%4ss  %s' "$((SECONDS - start))" "$name")")
  say "done in $((SECONDS - start))s"
}
STEPS=()

need_root() { [ "$(id -u)" = 0 ] || die "this needs root" "try: sudo $0 $*"; }

# install_packages NAME...: only what is missing, and only then the lists.
install_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  command -v apt-get >/dev/null || { echo "apt-get is not here: this needs Debian 12 or Ubuntu 22.04 or later"; return 1; }
  export DEBIAN_FRONTEND=noninteractive
  echo "installing ${missing[*]}"
  apt-get update -q
  apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# The Rust toolchain comes with the machine or from the user: its version is in Cargo.toml.
find_rust() {
  local wanted have
  [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
  command -v cargo >/dev/null || die "no Rust toolchain found" \
    "install Rust $wanted or later (rustup.rs, or your distribution's package), then run this again"
  have=$(rustc --version | cut -d ' ' -f 2)
  [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ] ||
    die "Rust $have is too old; $wanted or later is needed" "with rustup: rustup update stable"
}

built_binary() {
  cargo build --release --package slipway --message-format=json 2>/dev/null </dev/null |
    sed -n 's/.*"executable":"\([^"]*\/slipway\)".*/\1/p' | tail -n 1
}
