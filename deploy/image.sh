# Puts beside a binary what it needs to run alone in an image: the libraries that it is linked to, certificates, a user.
# Run by the Dockerfile, on the Debian that the binary was built on; `sh image.sh FOLDER` works on any other one too.
set -eu
image=$1

# The loader and the C library know where they are, so they keep their places. Names are resolved by the C library itself.
for library in $(ldd "$image/usr/local/bin/toolgate" | grep -o '/[^ ]*'); do
    install -D "$library" "$image$library"
done

install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$image/etc/ssl/certs/ca-certificates.crt"
mkdir -p "$image/etc"
echo 'hosts: files dns' > "$image/etc/nsswitch.conf"
echo 'toolgate:x:65532:65532:Toolgate:/var/lib/toolgate:/sbin/nologin' > "$image/etc/passwd"
echo 'toolgate:x:65532:' > "$image/etc/group"
# Where MCP servers that run as children put their files. A read-only root wants a tmpfs here.
install -d -m 1777 "$image/tmp"
install -d "$image/var/lib"
