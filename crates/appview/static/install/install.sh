#!/bin/sh
# Installs docker-credential-atcr from {{BASE_URL}}.
#
#   curl -fsSL {{BASE_URL}}/install.sh | sh
#
# INSTALL_DIR   where to put it; /usr/local/bin if that can be written, else ~/.local/bin
#
# The archive's SHA-256 is compared with the one this registry names before anything is installed.
set -eu

base_url='{{BASE_URL}}'
program=docker-credential-atcr

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "error: $1"
    [ $# -lt 2 ] || say "hint: $2"
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# fetch URL FILE
fetch() {
    if has curl; then
        curl -fsSL --retry 2 --connect-timeout 15 -o "$2" "$1"
    elif has wget; then
        wget -q -O "$2" "$1"
    else
        fail "neither curl nor wget is installed" "install one of them and run this again"
    fi
}

sha256_of() {
    if has sha256sum; then
        sha256sum "$1" | cut -d ' ' -f 1
    elif has shasum; then
        shasum -a 256 "$1" | cut -d ' ' -f 1
    elif has openssl; then
        openssl dgst -sha256 "$1" | sed 's/^.*= *//'
    else
        fail "no program for SHA-256 is installed" "install coreutils, perl or openssl and run this again"
    fi
}

# value NAME: the text of a string member of the JSON object on standard input
value() {
    sed -n "s/.*\"$1\"[[:space:]]*:[[:space:]]*\"\([^\"\\\\]*\)\".*/\1/p" | head -n 1
}

# objects: JSON on standard input with every object that has no object inside on a line of its own
objects() {
    tr -d '\n\r' | tr '{' '\n' | tr '}' '\n'
}

# Everything happens in a function that is called last: half a script, from a broken download, does nothing.
main() {
    case $(uname -s) in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) fail "there is no release for $(uname -s)" "on Windows: iwr -useb $base_url/install.ps1 | iex" ;;
    esac
    case $(uname -m) in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) fail "there is no release for $(uname -m)" ;;
    esac

    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM

    fetch "$base_url/api/credential-helper/version" "$work/release.json" ||
        fail "$base_url does not offer releases of $program"
    version=$(tr -d '\n\r' <"$work/release.json" | value version)
    archive=$(objects <"$work/release.json" |
        grep "\"os\"[[:space:]]*:[[:space:]]*\"$os\"" |
        grep "\"arch\"[[:space:]]*:[[:space:]]*\"$arch\"" | head -n 1) || archive=
    [ -n "$archive" ] || fail "there is no release for $os/$arch at $base_url"
    url=$(printf '%s\n' "$archive" | value url)
    expected=$(printf '%s\n' "$archive" | value sha256 | tr 'A-F' 'a-f')
    case $url in
    https://* | http://localhost[:/]* | http://127.0.0.1[:/]* | "$base_url"/*) ;;
    /*) url=$base_url$url ;;
    *) fail "the release is not at an https address" ;;
    esac
    case $expected in
    *[!0-9a-f]* | '') fail "the release has no SHA-256" ;;
    esac
    [ ${#expected} -eq 64 ] || fail "the release has no SHA-256"

    say "Downloading $program $version for $os/$arch"
    fetch "$url" "$work/archive" || fail "cannot download $url"
    actual=$(sha256_of "$work/archive")
    [ "$actual" = "$expected" ] ||
        fail "the archive does not have the announced SHA-256; nothing was installed" "try again; if it stays, tell the registry"
    mkdir "$work/unpacked"
    tar -xzf "$work/archive" -C "$work/unpacked" || fail "the archive cannot be unpacked"
    file=$(find "$work/unpacked" -type f -name "$program" | head -n 1)
    [ -n "$file" ] || fail "the archive does not hold $program"
    chmod 0755 "$file"
    "$file" version >/dev/null || fail "the program does not run on this machine"

    if [ -n "${INSTALL_DIR:-}" ]; then
        folder=$INSTALL_DIR
        mkdir -p "$folder" || fail "cannot make the folder $folder"
    elif [ -d /usr/local/bin ] && [ -w /usr/local/bin ]; then
        folder=/usr/local/bin
    else
        [ -n "${HOME:-}" ] || fail "there is no home folder" "set INSTALL_DIR"
        folder=$HOME/.local/bin
        mkdir -p "$folder"
    fi
    # Beside the target first: the rename that follows is atomic, also over a program that runs.
    new=$folder/.$program.$$
    { cp "$file" "$new" && chmod 0755 "$new" && mv -f "$new" "$folder/$program"; } || {
        rm -f "$new"
        fail "cannot write to $folder" "set INSTALL_DIR to a folder of yours, or run as its owner"
    }

    say "Installed: $folder/$program"
    case :$PATH: in
    *:"$folder":*) ;;
    *)
        say ""
        say "Docker finds it only through PATH. Add this line to your shell's profile:"
        say "    export PATH=\"$folder:\$PATH\""
        ;;
    esac
    host=${base_url#*://}
    say ""
    say "Next, sign in:"
    say "    $program login ${host%%/*}"
}

main
