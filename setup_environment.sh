#!/usr/bin/env bash
# Makes .venv from pyproject.toml and constraints.txt. Called by the Makefile: setup_environment.sh [EXTRAS], like dev,hub
# GPU=1 takes the extra `gpu` in place of `cpu`, now and from then on.
# Each failure that a newcomer can meet ends in one sentence that says what to do.
set -u
cd "$(dirname "$0")" || exit 1
log=.venv/install.log

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

python=$(find_python) || {
    found=$(python3 --version 2>&1 || echo "no Python")
    echo "labkit needs Python 3.11 or newer, and found $found: install it, then say which: make lab PYTHON=/path/to/python3.12" >&2
    exit 1
}

if ! .venv/bin/python -c '' 2>/dev/null; then
    echo "Making .venv with $("$python" --version) …"
    "$python" -m venv .venv || {
        echo "Python's venv module is missing: install it (Debian and Ubuntu: apt install python3-venv) and run make again." >&2
        exit 1
    }
fi

# onnxruntime and onnxruntime-gpu install one module: never both. Who goes over from one to the other loses both first,
# because taking one away takes files of the other with it.
has() { .venv/bin/python -c "from importlib.metadata import version; version('$1')" 2>/dev/null; }
if [ -n "${GPU:-}" ] || has onnxruntime-gpu; then runtime=gpu other=onnxruntime; else runtime=cpu other=onnxruntime-gpu; fi
if has "$other"; then
    echo "Taking ONNX Runtime away, to install its $runtime build …"
    .venv/bin/python -m pip uninstall -y onnxruntime onnxruntime-gpu >/dev/null 2>&1
fi
extras="$runtime${1:+,$1}"

echo "Installing labkit and what it needs into .venv (minutes the first time; log: $log) …"
if ! .venv/bin/python -m pip install -c constraints.txt -e ".[${extras}]" >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    if grep -qiE 'connection (broken|refused|reset|aborted|error)|failed to resolve|network is unreachable|timed out|proxyerror|max retries|retrying \(|from versions: none' "$log"; then
        echo "The packages could not be downloaded: check the network (or pip's proxy settings) and run make again; what arrived is kept." >&2
    else
        echo "pip could not install labkit: the reason stands above and in $log." >&2
    fi
    exit 1
fi

# The simulator's loop is compiled once: here, so that nobody waits for it in a lab. Without this it compiles itself.
.venv/bin/python -c 'from labkit.serving import load_compiled; load_compiled()' >>"$log" 2>&1 || true
