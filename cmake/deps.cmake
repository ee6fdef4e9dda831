# Every third-party library, found once, as SYSTEM targets named dep::*. Versions: Debian 12.
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(SQLite3 3.40 REQUIRED)
find_package(GTest 1.12 REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium>=1.0.18)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp>=2.5)
pkg_check_modules(TOMLPP REQUIRED IMPORTED_TARGET tomlplusplus>=3.3)
# Tests only: the oracle of the pre-tokenizers.
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8>=10.42)
find_package(Poco 1.11 REQUIRED COMPONENTS Foundation Data DataSQLite)

add_library(dep_openssl INTERFACE)
target_link_libraries(dep_openssl INTERFACE OpenSSL::SSL OpenSSL::Crypto)
add_library(dep::openssl ALIAS dep_openssl)

add_library(dep_sodium INTERFACE)
target_link_libraries(dep_sodium INTERFACE PkgConfig::SODIUM)
add_library(dep::sodium ALIAS dep_sodium)

add_library(dep_sqlite INTERFACE)
target_link_libraries(dep_sqlite INTERFACE Poco::Data Poco::DataSQLite Poco::Foundation SQLite::SQLite3)
add_library(dep::sqlite ALIAS dep_sqlite)

add_library(dep_poco INTERFACE)
target_link_libraries(dep_poco INTERFACE Poco::Foundation)
add_library(dep::poco ALIAS dep_poco)

add_library(dep_seccomp INTERFACE)
target_link_libraries(dep_seccomp INTERFACE PkgConfig::SECCOMP)
add_library(dep::seccomp ALIAS dep_seccomp)

add_library(dep_toml INTERFACE)
target_link_libraries(dep_toml INTERFACE PkgConfig::TOMLPP)
add_library(dep::toml ALIAS dep_toml)

# Asio and Beast: all files that use them agree on these definitions; asio_impl.cpp holds the code once.
add_library(dep_beast INTERFACE)
target_compile_definitions(dep_beast INTERFACE
    BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
    BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_NO_TS_EXECUTORS)
target_link_libraries(dep_beast INTERFACE Threads::Threads OpenSSL::SSL)
add_library(dep::beast ALIAS dep_beast)
