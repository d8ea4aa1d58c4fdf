#!/bin/sh
# make_venv.sh PYTHON VENV "PACKAGES": make the virtual environment, or take up a half-made one, and install into it.
set -eu
python=$1 venv=$2 packages=$3

command -v "$python" >/dev/null 2>&1 || {
    echo "motes needs Python 3.11 or newer, and there is no '$python' here. Install it, or say make PYTHON=/path/to/python3." >&2
    exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "motes needs Python 3.11 or newer, and '$python' is $("$python" -V 2>&1). Say make PYTHON=python3.11 or newer." >&2
    exit 1
}
"$python" -c 'import venv, ensurepip' 2>/dev/null || {
    echo "'$python' lacks the venv module. On Debian and Ubuntu: apt-get install python3-venv." >&2
    exit 1
}
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "making $venv ..."
    "$python" -m venv --clear "$venv"
fi
echo "installing ..."
# shellcheck disable=SC2086 # the packages are several words
"$venv/bin/python" -m pip install -q --disable-pip-version-check $packages
