#!/usr/bin/env bash
# What the tests need from Debian: a second store, a browser, a balancer and Prometheus; or what is named. Installed
# where missing and where we may; elsewhere it says what is missing, and the tests that need it are skipped by name.
set -euo pipefail

# the packages are called like their programs
[ $# -gt 0 ] || set -- redis-server chromium haproxy prometheus
missing=()
for need in "$@"; do
    command -v "$need" >/dev/null || [ -x "/usr/sbin/$need" ] || missing+=("$need")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    # Debian starts a service as soon as it is installed, unless this says no; the tests start their own
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    if apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
        exit 0
    fi
    echo "could not install ${missing[*]}" >&2
else
    echo "missing ${missing[*]}; as root: apt-get install --no-install-recommends ${missing[*]}" >&2
fi
[ "${CI:-}" != true ] || exit 1
