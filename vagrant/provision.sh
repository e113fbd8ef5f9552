#!/usr/bin/env bash
# Runs inside the machine: copy the tree to a disk that is not shared, then do what a user does.
set -euo pipefail
mkdir -p /opt/slipway-src
cp -a /slipway/. /opt/slipway-src/
cd /opt/slipway-src
exec script/up
