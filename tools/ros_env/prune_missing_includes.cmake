# The targets that the ROS wheels export name include folders of the machine they were built on
# (/opt/python/...), which CMake refuses. Drop those that do not exist here.
# Use: cmake -DCMAKE_PROJECT_INCLUDE=<this file>
function(prune_missing_includes)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT folders)
      continue()
    endif()
    set(present)
    foreach(folder IN LISTS folders)
      if(folder MATCHES "\\$<" OR EXISTS "${folder}")
        list(APPEND present "${folder}")
      endif()
    endforeach()
    set_property(TARGET ${target} PROPERTY INTERFACE_INCLUDE_DIRECTORIES "${present}")
  endforeach()
endfunction()
# The targets exist only once the project's own find_package calls have run.
cmake_language(DEFER CALL prune_missing_includes)
