#!/usr/bin/env bash
# Makes .venv: Python packages, ROS 2 and our messages. Does only what is missing or out of date.
# Argument: bench or docs, to add what `make bench` or `make docs` needs.
# Reads PYTHON (the interpreter to use). Writes .venv/ros_env.sh (to be sourced) and setup.log.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$repo/.venv
log=$venv/setup.log
cd "$repo"
for part in progress system_packages python ros steps; do
  # shellcheck disable=SC1090
  . "tools/setup/$part.sh"
done

exec 9<"tools/setup_env.sh"
if command -v flock >/dev/null; then
  flock 9  # one set-up at a time
fi

choose_ros
choose_python
ensure_system_packages
step venv "$python $ros $repo" "environment in .venv ($("$python" -V), ROS 2: $ros)" make_venv
step ros_env "$ros" 'ROS 2 settings in .venv/ros_env.sh' write_ros_env
# Lists of our own file names, none of which holds a space.
# shellcheck disable=SC2046
{
  step packages "$(hash_of $(package_inputs))" 'Python packages' install_packages
  step command "$(hash_of tools/setup/steps.sh)" 'sph-reg in .venv/bin' write_command
  step messages "$(hash_of $(message_inputs)) $(linked_files)" 'ROS 2 messages' build_messages
  case ${1:-} in
    bench | docs)
      step "$1_packages" "$(hash_of $(package_inputs))" "packages of make $1" install_extra "$1"
      ;;
  esac
}
