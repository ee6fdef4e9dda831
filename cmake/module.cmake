# ostal_module(NAME <name> SOURCES <files> [PUBLIC <targets>] [PRIVATE <targets>] [TESTS <files>]
#              [TEST_LINKS <targets>])
#
# One static library ostal_<name> (alias ostal::<name>) and, when TESTS are given, one gtest binary
# <name>_test registered with CTest under the label `unit`. A module sees only what it links: the allowed
# directions are base <- engine, base <- security, all <- appliance.
function(ostal_module)
    cmake_parse_arguments(M "" "NAME" "SOURCES;PUBLIC;PRIVATE;TESTS;TEST_LINKS" ${ARGN})
    add_library(ostal_${M_NAME} STATIC ${M_SOURCES})
    add_library(ostal::${M_NAME} ALIAS ostal_${M_NAME})
    target_link_libraries(ostal_${M_NAME} PUBLIC ${M_PUBLIC} PRIVATE ostal::options ${M_PRIVATE})
    target_include_directories(ostal_${M_NAME} PUBLIC ${CMAKE_SOURCE_DIR})
    if(M_TESTS)
        ostal_test(NAME ${M_NAME}_test SOURCES ${M_TESTS} LINKS ostal::${M_NAME} ${M_TEST_LINKS})
    endif()
endfunction()

# ostal_test(NAME <name> SOURCES <files> LINKS <targets> [LABELS <labels>] [TIMEOUT <seconds>])
# A gtest binary; its working directory is the source root, OSTAL_BIN_DIR names the built programs.
function(ostal_test)
    cmake_parse_arguments(T "" "NAME;TIMEOUT" "SOURCES;LINKS;LABELS" ${ARGN})
    if(NOT T_LABELS)
        set(T_LABELS unit)
    endif()
    if(NOT T_TIMEOUT)
        set(T_TIMEOUT 300)
    endif()
    if(OSTAL_SANITIZE OR OSTAL_COVERAGE)
        math(EXPR T_TIMEOUT "${T_TIMEOUT} * 6")
    endif()
    add_executable(${T_NAME} ${T_SOURCES})
    target_link_libraries(${T_NAME} PRIVATE ostal::options ${T_LINKS} GTest::gtest GTest::gtest_main)
    target_compile_definitions(${T_NAME} PRIVATE OSTAL_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                               OSTAL_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
    if(NOT OSTAL_SANITIZE)
        target_precompile_headers(${T_NAME} PRIVATE <gtest/gtest.h> <string> <vector> <memory>)
    endif()
    add_test(NAME ${T_NAME} COMMAND ${T_NAME} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${T_NAME} PROPERTIES LABELS "${T_LABELS}" TIMEOUT ${T_TIMEOUT})
endfunction()

# ostal_program(NAME <name> SOURCES <files> LINKS <targets>)
function(ostal_program)
    cmake_parse_arguments(P "" "NAME" "SOURCES;LINKS" ${ARGN})
    add_executable(${P_NAME} ${P_SOURCES})
    target_link_libraries(${P_NAME} PRIVATE ostal::options ${P_LINKS})
endfunction()

# ostal_fuzz(NAME <name> SOURCE <file with LLVMFuzzerTestOneInput> LINKS <targets>)
# Under OSTAL_FUZZ a libFuzzer binary, built by the target `fuzzers`; otherwise a replayer of
# tests/fuzz/corpus/<name> that also changes its inputs for OSTAL_FUZZ_SECONDS, registered with CTest under the
# label `fuzz-smoke`.
function(ostal_fuzz)
    cmake_parse_arguments(F "" "NAME;SOURCE" "LINKS" ${ARGN})
    set(target fuzz_${F_NAME})
    if(OSTAL_FUZZ)
        add_executable(${target} ${F_SOURCE})
        target_link_options(${target} PRIVATE -fsanitize=fuzzer)
        if(NOT TARGET fuzzers)
            add_custom_target(fuzzers)
        endif()
        add_dependencies(fuzzers ${target})
    else()
        add_executable(${target} ${F_SOURCE} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.cpp)
        add_test(NAME ${target} COMMAND ${target} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${F_NAME} ${OSTAL_FUZZ_SECONDS})
        set_tests_properties(${target} PROPERTIES LABELS fuzz-smoke TIMEOUT 60)
    endif()
    target_link_libraries(${target} PRIVATE ostal::options ${F_LINKS})
endfunction()
