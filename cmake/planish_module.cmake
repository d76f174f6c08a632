# SPDX-License-Identifier: Apache-2.0
# planish_module(NAME [DEPS folder...] [LINK target...]): library planish_NAME from src/NAME/*.cc and, from the
# *_test.cc beside them, one test binary NAME_test. Sources are globbed, so adding a unit edits no shared list.

add_library(planish_flags INTERFACE)
target_compile_options(planish_flags INTERFACE
  -Wall -Wextra -Wshadow -Wno-missing-field-initializers
  -Wno-maybe-uninitialized # GCC 12 reports it falsely for every std::variant that holds a string
  -ffp-contract=off # a*b+c rounds twice unless a kernel says FMA: the same numbers from every compiler
  -fstack-protector-strong)
target_link_options(planish_flags INTERFACE -Wl,-z,relro,-z,now)
target_include_directories(planish_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_definitions(planish_flags INTERFACE
  _GLIBCXX_ASSERTIONS $<$<CONFIG:Debug>:PLANISH_DEBUG> $<$<BOOL:${PLANISH_SANITIZE}>:PLANISH_DEBUG>)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT PLANISH_SANITIZE)
  target_compile_definitions(planish_flags INTERFACE _FORTIFY_SOURCE=2)
endif()
if(PLANISH_SANITIZE)
  target_compile_options(planish_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(planish_flags INTERFACE -fsanitize=address,undefined)
endif()
if(PLANISH_TSAN)
  target_link_options(planish_flags INTERFACE -fsanitize=thread)
endif()

# Under PLANISH_TSAN: folders that only ever run on the engine's thread stay as they are, which keeps the build and the tests
# short. libgomp's barriers are invisible to the sanitizer, so tests run with OMP_NUM_THREADS=1.
set(planish_single_threaded kernels tensor model)
function(planish_instrument name target)
  if(PLANISH_TSAN AND NOT name IN_LIST planish_single_threaded)
    target_compile_options(${target} PRIVATE -fsanitize=thread -fno-omit-frame-pointer)
  endif()
endfunction()

add_custom_target(benches) # every *_bench program

if(PLANISH_TESTS)
  add_library(planish_test_main STATIC ${PROJECT_SOURCE_DIR}/tests/test_main.cc)
  target_link_libraries(planish_test_main PUBLIC planish_base GTest::gtest)
endif()

function(planish_module name)
  cmake_parse_arguments(ARG "" "" "DEPS;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "(_test|_bench|_plugin|/main)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(TRANSFORM ARG_DEPS PREPEND planish_)
  if(NOT sources)
    add_library(planish_${name} INTERFACE)
    target_link_libraries(planish_${name} INTERFACE planish_flags ${ARG_DEPS} ${ARG_LINK})
    return()
  endif()
  add_library(planish_${name} STATIC ${sources})
  target_link_libraries(planish_${name} PUBLIC planish_flags ${ARG_DEPS} ${ARG_LINK})
  planish_instrument(${name} planish_${name})
  if(PLANISH_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE planish_${name} planish_test_main)
    planish_instrument(${name} ${name}_test)
    planish_discover(${name}_test)
  endif()
  file(GLOB benches CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*_bench.cc)
  foreach(bench ${benches}) # programs of their own, built on request: `make bench`
    get_filename_component(stem ${bench} NAME_WE)
    add_executable(${stem} EXCLUDE_FROM_ALL ${bench})
    target_link_libraries(${stem} PRIVATE planish_${name})
    add_dependencies(benches ${stem})
    if(stem MATCHES "bf16") # oneDNN is the peer in these tables where it is installed; nothing else uses it
      find_library(PLANISH_ONEDNN dnnl)
      if(PLANISH_ONEDNN)
        target_link_libraries(${stem} PRIVATE ${PLANISH_ONEDNN})
        target_compile_definitions(${stem} PRIVATE PLANISH_HAVE_ONEDNN)
      endif()
    endif()
  endforeach()
endfunction()

# Every gtest case becomes a ctest entry; tests whose name ends in Slow are kept out of the fast suite by `make test`.
function(planish_discover target)
  include(GoogleTest)
  target_compile_definitions(${target} PRIVATE PLANISH_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # Tests run side by side: see base/parallel.h on GOMP_SPINCOUNT.
  gtest_discover_tests(${target} TEST_FILTER "-*Slow" DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT 600 ENVIRONMENT "GOMP_SPINCOUNT=300")
  gtest_discover_tests(${target} TEST_FILTER "*Slow" DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT 3600 ENVIRONMENT "GOMP_SPINCOUNT=300")
endfunction()

function(planish_program)
  if(EXISTS ${PROJECT_SOURCE_DIR}/src/cli/main.cc)
    find_package(Git QUIET)
    execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} rev-parse --short HEAD
      OUTPUT_VARIABLE revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(EXISTS ${PROJECT_SOURCE_DIR}/.git/logs/HEAD) # a new commit configures again, so that --version tells the truth
      set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/.git/logs/HEAD)
    endif()
    add_executable(planish ${PROJECT_SOURCE_DIR}/src/cli/main.cc)
    target_compile_definitions(planish PRIVATE PLANISH_VERSION="${PROJECT_VERSION}" PLANISH_REVISION="${revision}")
    target_link_libraries(planish PRIVATE planish_cli)
    install(TARGETS planish RUNTIME DESTINATION bin)
  endif()
endfunction()
