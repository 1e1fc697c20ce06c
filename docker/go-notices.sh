#!/bin/sh
# Collects the licences and notices of every module that is linked into Go programs, from the module cache.
#
#   go-notices.sh FOLDER PROGRAM…
set -eu
target=$1
shift
modules=$(go env GOMODCACHE)
mkdir -p "$target"
go version -m "$@" | awk '$1 == "mod" || $1 == "dep" || $1 == "=>" { print $2, $3 }' | sort -u | while read -r path version; do
    # Upper case is written with an exclamation mark in the cache.
    folder="$modules/$(printf '%s' "$path" | sed 's/[A-Z]/!\L&/g')@$(printf '%s' "$version" | sed 's/[A-Z]/!\L&/g')"
    [ -d "$folder" ] || continue
    find "$folder" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' \) |
        while read -r notice; do
            install -D -m 644 "$notice" "$target/$path@$version/$(basename "$notice")"
        done
done
[ -n "$(ls "$target")" ]
