#!/bin/sh
# make_venv.sh PYTHON VENV STAMP "PACKAGES" "IMPORTS": a virtual environment with the packages in it.
# STAMP is written when an install has come to its end. With a stamp newer than pyproject.toml and imports that work there
# is nothing to do; a half-made environment is taken up again, and a broken one is made anew.
set -eu
python=$1 venv=$2 stamp=$2/$3 packages=$4 imports=$5

works() { [ -z "$imports" ] || "$venv/bin/python" -c "import $imports" >/dev/null 2>&1; }

if [ -e "$stamp" ] && [ "$stamp" -nt pyproject.toml ]; then
    works && exit 0
    echo "$venv is broken; making it anew ..."
    rm -rf "$venv"
fi
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
# uv takes a third to two thirds of pip's time. It does not read pip's files, so where it reaches no index pip installs the
# packages.
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
install() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv"
    pip="$venv/bin/python -m pip install -q --disable-pip-version-check"
    # shellcheck disable=SC2086 # these are several words
    $pip uv && "$venv/bin/uv" pip install -q --python "$venv/bin/python" $packages || $pip $packages
}
echo "installing into $venv ..."
install
works || { rm -rf "$venv"; install; }
touch "$stamp"
