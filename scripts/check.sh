#!/bin/sh
# usage: scripts/check.sh
# What every change passes before it is committed: format, direction of includes, build, unit tests. Under a minute.
set -eu
cd "$(dirname "$0")/.."
[ -d build ] || meson setup build
git ls-files '*.c' '*.h' | xargs -r clang-format-14 --dry-run -Werror
ninja -C build
python3 scripts/tidy.py --build build
meson test -C build --suite unit --no-rebuild -q --print-errorlogs
