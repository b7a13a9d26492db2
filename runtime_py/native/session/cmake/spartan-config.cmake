# find_package(spartan) gives the target spartan::spartan: libspartan.so of the runtime/ folder that this file came with,
# with its headers <spartan/bundle.h> and <spartan/session.h>.
get_filename_component(SPARTAN_RUNTIME "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT EXISTS "${SPARTAN_RUNTIME}/libspartan.so")
  set(spartan_FOUND FALSE)
  set(spartan_NOT_FOUND_MESSAGE "there is no libspartan.so in ${SPARTAN_RUNTIME}")
  return()
endif()
if(NOT TARGET spartan::spartan)
  add_library(spartan::spartan SHARED IMPORTED)
  # The libraries that libspartan.so needs are beside it, where a cross linker does not look by itself.
  set_target_properties(spartan::spartan PROPERTIES
    IMPORTED_LOCATION "${SPARTAN_RUNTIME}/libspartan.so"
    INTERFACE_INCLUDE_DIRECTORIES "${SPARTAN_RUNTIME}/include"
    INTERFACE_LINK_OPTIONS "-Wl,-rpath-link,${SPARTAN_RUNTIME}")
endif()
