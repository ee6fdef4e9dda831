# Language, warnings, hardening, sanitizers: one INTERFACE target that every module of ours links.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()
# Optimised with line tables in every preset: the engine's tests are too slow without.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1")

set(OSTAL_SANITIZE "" CACHE STRING "Empty, address or thread")
set(OSTAL_FUZZ OFF CACHE BOOL "Build the fuzz targets with libFuzzer (clang)")
set(OSTAL_FUZZ_SECONDS 5 CACHE STRING "Seconds for which a fuzz test changes its kept inputs")
set(OSTAL_COVERAGE OFF CACHE BOOL "Instrument for gcov")

find_program(CCACHE ccache)
if(CCACHE)
    set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)

add_library(ostal_options INTERFACE)
add_library(ostal::options ALIAS ostal_options)
target_include_directories(ostal_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(ostal_options INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
    -Wnon-virtual-dtor -Wformat=2 -Wimplicit-fallthrough -Werror
    -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE)
target_compile_definitions(ostal_options INTERFACE _GLIBCXX_ASSERTIONS)
target_link_options(ostal_options INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack)
if(MOLD)
    target_link_options(ostal_options INTERFACE -fuse-ld=mold)
endif()

if(OSTAL_SANITIZE)
    # Warnings are judged in the other builds: g++ 12 gives false ones in code that a sanitizer instrumented (GCC
    # manual, -fsanitize).
    target_compile_options(ostal_options INTERFACE -Wno-error -Wno-maybe-uninitialized -Wno-conversion)
endif()
if(OSTAL_SANITIZE STREQUAL "address")
    # -O1: half the compile time of -O2, and reports that point at the right line.
    target_compile_options(ostal_options INTERFACE -O1
        -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(ostal_options INTERFACE -fsanitize=address,undefined)
    target_compile_definitions(ostal_options INTERFACE OSTAL_SANITIZED=1)
elseif(OSTAL_SANITIZE STREQUAL "thread")
    target_compile_options(ostal_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer -Wno-tsan)
    target_link_options(ostal_options INTERFACE -fsanitize=thread)
    target_compile_definitions(ostal_options INTERFACE OSTAL_SANITIZED=1)
else()
    # _FORTIFY_SOURCE hides overflows from the sanitizers, so only without them.
    target_compile_options(ostal_options INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
if(OSTAL_FUZZ)
    target_compile_options(ostal_options INTERFACE -fsanitize=fuzzer-no-link,address,undefined)
    target_link_options(ostal_options INTERFACE -fsanitize=address,undefined)
endif()
if(OSTAL_COVERAGE)
    target_compile_options(ostal_options INTERFACE --coverage)
    target_link_options(ostal_options INTERFACE --coverage)
endif()
if(DEFINED ENV{SOURCE_DATE_EPOCH})
    target_compile_options(ostal_options INTERFACE -ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)
endif()
