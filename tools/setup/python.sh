# Which Python serves. Sourced by setup_env.sh.

# Prints the interpreter behind COMMAND (a venv's or a shim's, too) if it is a supported one.
supported_python() {
  "$1" - 2>/dev/null <<'END'
import os, sys
if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    sys.exit(1)
print(os.path.realpath(getattr(sys, '_base_executable', sys.executable)))
END
}

# Sets python: $PYTHON if given, else the one that ROS 2 was built for, else the first that fits.
choose_python() {
  local candidate candidates needed
  if [ "$ros" = wheels ]; then
    candidates=(python3 python3.12 python3.11 python3.10 python3.13)
    needed='Python 3.10 to 3.13'
  else
    candidates=("$(ros_python)" python3)
    needed="$(ros_python), which this ROS 2 was built for"
  fi
  if [ -n "${PYTHON:-}" ]; then
    candidates=("$PYTHON")
  fi
  for candidate in "${candidates[@]}"; do
    if python=$(supported_python "$candidate") && matches_ros "$python"; then
      return
    fi
  done
  fail "needed: $needed. Not so, or not there: ${candidates[*]}." \
    'Name one that fits: make PYTHON=/path/to/python'
}

matches_ros() {
  [ "$ros" = wheels ] || [ "$(version_of "$1")" = "$(ros_python)" ]
}

# version_of PYTHON: python3.12, for example.
version_of() {
  "$1" -c 'import sys; print("python%d.%d" % sys.version_info[:2])'
}
