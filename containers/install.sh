# shellcheck shell=sh
# Sourced by the others: `install` puts packages into /opt/venv by uv, which takes pip's settings.

# uv has names of its own for what pip calls an index, and takes certificates from OpenSSL's variable.
if [ -n "${PIP_CERT:-}" ]; then export SSL_CERT_FILE="$PIP_CERT"; fi
if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="$PIP_INDEX_URL"; fi
if [ -n "${PIP_EXTRA_INDEX_URL:-}" ]; then export UV_INDEX="$PIP_EXTRA_INDEX_URL"; fi
if [ -n "${PIP_FIND_LINKS:-}" ]; then export UV_FIND_LINKS="$PIP_FIND_LINKS"; fi
export UV_NO_CACHE=1 UV_LINK_MODE=copy UV_HTTP_TIMEOUT=180

install() {
    /opt/uv/bin/uv pip install --python /opt/venv/bin/python "$@"
}
