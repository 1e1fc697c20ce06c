#!/bin/sh
# Collects the files of an image: a program, the shared libraries that it loads, root certificates and a user without rights. May be called
# again for another program. The operator's tools are there by the names that the original has for them as well.
#
#   image-root.sh PROGRAM FOLDER
set -eu
program=$1
root=$2

install -D -m 755 "$program" "$root/usr/local/bin/$(basename "$program")"
ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ "^/" { print $1 }' | while read -r library; do
    install -D -m 755 "$library" "$root$library"
done
if [ "$(basename "$program")" = atcr ]; then
    for name in db-migrate healthcheck record-query request-crawl s3-test usage-report; do
        ln -sf atcr "$root/usr/local/bin/$name"
    done
fi
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
install -D -m 644 LICENSE "$root/usr/share/doc/atcr/LICENSE"
echo 'atcr:x:10001:10001::/:/sbin/nologin' > "$root/etc/passwd"
echo 'atcr:x:10001:' > "$root/etc/group"
# Names are looked up in /etc/hosts first, as Docker writes it, then by DNS.
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
install -d -m 1777 "$root/tmp"
