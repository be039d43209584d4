# Compiler, Python headers and venv: installed by apt where that is possible, else named.
# Sourced by setup_env.sh.

# The Debian names of what is not there.
missing_packages() {
  local version
  version=$(version_of "$python")
  if ! { command -v cc && command -v c++; } >/dev/null; then
    echo build-essential
  fi
  "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$version-venv"
  [ -e "$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h" ] ||
    echo "$version-dev"
}

ensure_system_packages() {
  local packages
  mapfile -t packages < <(missing_packages)
  if [ "${#packages[@]}" -eq 0 ]; then
    return
  fi
  require_apt "${packages[@]}"
  if [ "$(id -u)" -eq 0 ]; then
    run_step "installing ${packages[*]}" apt_install env "${packages[@]}"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    run_step "installing ${packages[*]}" apt_install 'sudo -n env' "${packages[@]}"
  else
    fail "missing: ${packages[*]}. Type: sudo apt-get install ${packages[*]}"
  fi
  mapfile -t packages < <(missing_packages)
  if [ "${#packages[@]}" -gt 0 ]; then
    fail "still missing after their installation: ${packages[*]}"
  fi
}

# apt_install ENV PACKAGE...
apt_install() {
  local as_root=$1
  shift
  $as_root apt-get update
  $as_root DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# Stop where apt is not there, or would serve another Python than the chosen one.
require_apt() {
  if ! command -v apt-get >/dev/null; then
    fail "missing (Debian's names): $*. Install what your system calls them, then try again."
  fi
  if [ "$*" != build-essential ] && [[ $python != /usr/bin/* ]]; then
    fail "$python lacks its headers or the venv module, and apt cannot add them." \
      'Choose another Python, for example: make PYTHON=/usr/bin/python3'
  fi
}
