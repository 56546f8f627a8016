#!/bin/sh
# Runs NVIDIA's perf_analyzer 2.60 against a server: perf_analyzer.sh HOST:PORT MODEL [any option of perf_analyzer]
#
# Its binary needs glibc 2.38, and pip on an older system silently takes an empty 0.1.0. So the wheel is unpacked, and
# where this system's glibc is older the binary runs on the libraries of a Debian 13 folder, which debootstrap makes
# once as root (apt-get install debootstrap unzip). Everything stays in $OCELLA_CACHE/perf_analyzer.
set -eu

[ $# -ge 2 ] || { echo "usage: $0 HOST:PORT MODEL [options of perf_analyzer]" >&2; exit 2; }
server=$1 model=$2
shift 2

version=2.60.0
folder=${OCELLA_CACHE:-$HOME/.cache/ocella}/perf_analyzer
binary=$folder/perf_analyzer/bin/perf_analyzer
debian=$folder/debian13
mkdir -p "$folder"

if [ ! -x "$binary" ]; then
    python3 -m pip download --quiet --no-deps --only-binary :all: --platform manylinux_2_38_x86_64 \
        --dest "$folder" "perf-analyzer==$version"
    unzip -q -o "$folder/perf_analyzer-$version"-*.whl -d "$folder"
    chmod +x "$binary"
fi

run="$binary"
glibc=$(ldd --version 2>&1 | sed -n '1s/.* //p')
if [ "$(printf '%s\n2.38\n' "$glibc" | sort -V | head -n 1)" != 2.38 ]; then
    if [ ! -e "$debian/complete" ]; then
        command -v debootstrap > /dev/null || { echo "error: glibc is $glibc: install debootstrap" >&2; exit 1; }
        debootstrap --variant=minbase trixie "$debian" >&2
        touch "$debian/complete"
    fi
    libraries=$debian/usr/lib/x86_64-linux-gnu
    run="$libraries/ld-linux-x86-64.so.2 --library-path $libraries $binary"
fi

# shellcheck disable=SC2086  # words of a command
exec $run -m "$model" -u "$server" -i grpc "$@"
