#!/bin/sh
# The browser tests drive Debian's Chromium. It is installed where that needs nobody's leave: as root, with apt.
# Elsewhere they say that they were skipped, or, with CI=true, fail.
set -u
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "no chromium here and no right to install it: the browser tests will be skipped"
	exit 0
fi
echo "installing chromium for the browser tests"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
