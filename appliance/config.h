// The daemon's configuration: one typed struct, defaults here, read once, validated whole.
//
// Files are TOML: ostal.toml, then conf.d/*.toml in name order; a later file wins key by key. Strict: an
// unknown key or a wrong type is an error that names file, line and the nearest known key; all problems are
// listed at once. Secrets never stand in the file: they are named by path or systemd credential.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"

namespace ostal {

struct ListenerConfig {
    std::string address = "127.0.0.1";
    std::uint16_t port = 8443;
    std::vector<std::string> serves = {"api", "chat", "admin"};
};

struct Config {
    struct Instance {
        std::string name = "ostal";  // origin of the audit log: <name>.ostal/audit
    } instance;
    struct Paths {
        std::string state = "/var/lib/ostal";
        std::string trust = "/etc/ostal/trust.d";
        std::string control_socket = "/run/ostal/ctl.sock";
    } paths;
    std::vector<ListenerConfig> listeners = {ListenerConfig{}};
    struct Server {
        std::vector<std::string> hosts = {"localhost", "127.0.0.1"};  // accepted Host names, without port
        std::int64_t max_connections = 1024;
        std::int64_t max_connections_per_ip = 64;
        std::int64_t body_limit_bytes = 4 << 20;
        std::int64_t drain_seconds = 60;
        std::string min_tls = "1.3";
    } server;
    struct Keys {
        std::string unseal_key_file;    // 32 bytes; unseals at start
        std::string unseal_credential;  // name of a systemd credential that holds the same
    } keys;
    struct Engine {
        std::int64_t threads = 0;
        std::int64_t max_context_tokens = 0;
        std::int64_t max_sequences = 64;
        std::int64_t max_queue = 1000;
        std::int64_t step_token_budget = 256;
        std::int64_t kv_cache_mib = 0;
        std::string isa;
        bool pin_threads = true;
        std::string weights = "stored";
    } engine;
    struct Models {
        std::string default_model;  // answers when a request names none; "" = none
    } models;
    struct Api {
        bool strict = false;                   // unknown request fields are 422 instead of accepted and logged
        std::int64_t default_max_tokens = 0;   // 0: what the context leaves
    } api;
    struct Audit {
        std::int64_t reserve_mib = 64;
    } audit;
    struct Log {
        LogLevel level = LogLevel::kInfo;
        std::string format = "text";  // "text" (journald prefixes) or "json"
    } log;
};

struct ConfigKey {
    std::string name;     // "engine.threads"
    std::string type;     // "integer", "string", "boolean", "list of strings"
    std::string meaning;
    std::string value;    // as TOML
    std::string origin;   // "default", or the file and line
};

struct LoadedConfig {
    Config config;
    std::vector<ConfigKey> keys;  // all keys with value and origin, in schema order (config show)
};

// One TOML text, for its problems to be named by `name`; later texts win.
struct ConfigText {
    std::string name;
    std::string text;
};

// kInvalidArgument with every problem, a line each: "ostal.toml:3: unknown key engine.thread; did you mean
// engine.threads?"
Result<LoadedConfig> parse_config(const std::vector<ConfigText>& texts);

// Reads `file` and the folder conf.d beside it. A missing file is kNotFound; a missing conf.d is none.
Result<LoadedConfig> load_config(const std::string& file);

// Every key with type, default and meaning, as a commented TOML file (config schema).
std::string config_schema();

}  // namespace ostal
