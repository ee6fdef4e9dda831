#include "appliance/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>

#include "base/file.h"

namespace ostal {
namespace {

constexpr std::uint64_t kMaxFileBytes = 1 << 20;

// One key of the schema: how it reads a node into a Config and how it shows its value.
struct Key {
    std::string name;
    std::string type;
    std::string meaning;
    // What is wrong with the node, or nothing.
    std::function<std::optional<std::string>(Config&, const toml::node&)> read;
    std::function<std::string(const Config&)> show;
};

std::string toml_string(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

std::string toml_list(const std::vector<std::string>& list) {
    std::string out = "[";
    for (const std::string& item : list) out += (out.size() > 1 ? ", " : "") + toml_string(item);
    return out + "]";
}

template <typename Part>
Key integer(std::string name, Part Config::*part, std::int64_t Part::*field, std::int64_t low,
            std::int64_t high, std::string meaning) {
    return {std::move(name), "integer", std::move(meaning),
            [=](Config& config, const toml::node& node) -> std::optional<std::string> {
                const auto value = node.value_exact<std::int64_t>();
                if (!value) return "expected an integer";
                if (*value < low || *value > high) {
                    return "expected an integer from " + std::to_string(low) + " to " + std::to_string(high);
                }
                config.*part.*field = *value;
                return std::nullopt;
            },
            [=](const Config& config) { return std::to_string(config.*part.*field); }};
}

template <typename Part>
Key boolean(std::string name, Part Config::*part, bool Part::*field, std::string meaning) {
    return {std::move(name), "boolean", std::move(meaning),
            [=](Config& config, const toml::node& node) -> std::optional<std::string> {
                const auto value = node.value_exact<bool>();
                if (!value) return "expected true or false";
                config.*part.*field = *value;
                return std::nullopt;
            },
            [=](const Config& config) { return config.*part.*field ? "true" : "false"; }};
}

// `choices` empty: any text up to 4096 bytes.
template <typename Part>
Key text(std::string name, Part Config::*part, std::string Part::*field, std::vector<std::string> choices,
         std::string meaning) {
    return {std::move(name), "string", std::move(meaning),
            [=](Config& config, const toml::node& node) -> std::optional<std::string> {
                const auto value = node.value_exact<std::string>();
                if (!value) return "expected a string";
                if (value->size() > 4096) return "the string is longer than 4096 bytes";
                if (!choices.empty() && std::find(choices.begin(), choices.end(), *value) == choices.end()) {
                    return "expected one of " + toml_list(choices);
                }
                config.*part.*field = *value;
                return std::nullopt;
            },
            [=](const Config& config) { return toml_string(config.*part.*field); }};
}

std::optional<std::vector<std::string>> string_list(const toml::node& node) {
    const toml::array* array = node.as_array();
    if (array == nullptr) return std::nullopt;
    std::vector<std::string> out;
    for (const toml::node& item : *array) {
        const auto value = item.value_exact<std::string>();
        if (!value) return std::nullopt;
        out.push_back(*value);
    }
    return out;
}

std::string level_name(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug: return "debug";
        case LogLevel::kInfo: return "info";
        case LogLevel::kWarning: return "warning";
        case LogLevel::kError: return "error";
    }
    return "info";
}

Key log_level() {
    return {"log.level", "string", "least level that is logged: debug, info, warning or error",
            [](Config& config, const toml::node& node) -> std::optional<std::string> {
                const auto value = node.value_exact<std::string>();
                for (const LogLevel level :
                     {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
                    if (value && *value == level_name(level)) {
                        config.log.level = level;
                        return std::nullopt;
                    }
                }
                return R"(expected one of ["debug", "info", "warning", "error"])";
            },
            [](const Config& config) { return toml_string(level_name(config.log.level)); }};
}

Key hosts() {
    return {"server.hosts", "list of strings", "Host names that clients may use, without port",
            [](Config& config, const toml::node& node) -> std::optional<std::string> {
                const auto list = string_list(node);
                if (!list || list->empty()) return "expected a list of at least one string";
                config.server.hosts = *list;
                return std::nullopt;
            },
            [](const Config& config) { return toml_list(config.server.hosts); }};
}

const std::vector<Key>& schema() {
    using C = Config;
    static const std::vector<Key> keys = {
        text("instance.name", &C::instance, &C::Instance::name, {},
             "name of this installation; origin of its audit log"),
        text("paths.state", &C::paths, &C::Paths::state, {},
             "state folder, 0700, owned by the daemon's user"),
        text("paths.trust", &C::paths, &C::Paths::trust, {}, "folder of trust anchors, *.root.json"),
        text("paths.control_socket", &C::paths, &C::Paths::control_socket, {}, "socket of ostalctl"),
        hosts(),
        integer("server.max_connections", &C::server, &C::Server::max_connections, 1, 65536,
                "open connections in all"),
        integer("server.max_connections_per_ip", &C::server, &C::Server::max_connections_per_ip, 1, 65536,
                "open connections of one address"),
        integer("server.body_limit_bytes", &C::server, &C::Server::body_limit_bytes, 1024, 1LL << 30,
                "largest request body"),
        integer("server.drain_seconds", &C::server, &C::Server::drain_seconds, 0, 3600,
                "how long running answers may go on at shutdown"),
        text("server.min_tls", &C::server, &C::Server::min_tls, {"1.3", "1.2"}, "lowest TLS version"),
        text("keys.unseal_key_file", &C::keys, &C::Keys::unseal_key_file, {},
             "32-byte key file of a slot; unseals at start"),
        text("keys.unseal_credential", &C::keys, &C::Keys::unseal_credential, {},
             "name of the systemd credential with a slot's 32-byte key"),
        integer("engine.threads", &C::engine, &C::Engine::threads, 0, 1024, "CPU team; 0: physical cores"),
        integer("engine.max_context_tokens", &C::engine, &C::Engine::max_context_tokens, 0, 1 << 24,
                "context limit; 0: the model's own"),
        integer("engine.max_sequences", &C::engine, &C::Engine::max_sequences, 1, 4096,
                "sequences running at once"),
        integer("engine.max_queue", &C::engine, &C::Engine::max_queue, 1, 100000, "requests that may wait"),
        integer("engine.step_token_budget", &C::engine, &C::Engine::step_token_budget, 16, 65536,
                "prompt tokens of one step"),
        integer("engine.kv_cache_mib", &C::engine, &C::Engine::kv_cache_mib, 0, 1LL << 24,
                "KV cache; 0: by model and memory"),
        text("engine.isa", &C::engine, &C::Engine::isa, {"", "scalar", "avx2", "avx512"},
             "kernels; empty: the best of this machine"),
        boolean("engine.pin_threads", &C::engine, &C::Engine::pin_threads, "pin the CPU team to cores"),
        text("engine.weights", &C::engine, &C::Engine::weights, {"stored"}, "weight type in memory"),
        text("models.default", &C::models, &C::Models::default_model, {},
             "model that answers when a request names none"),
        boolean("api.strict", &C::api, &C::Api::strict,
                "refuse unknown request fields (422) instead of logging them"),
        integer("api.default_max_tokens", &C::api, &C::Api::default_max_tokens, 0, 1 << 24,
                "max_tokens of a request that names none; 0: what the context leaves"),
        integer("audit.reserve_mib", &C::audit, &C::Audit::reserve_mib, 0, 65536,
                "disk space kept for the audit log"),
        log_level(),
        text("log.format", &C::log, &C::Log::format, {"text", "json"},
             "log lines: text with journald prefixes, or JSON"),
    };
    return keys;
}

constexpr std::string_view kListenerMeaning =
    "[[listener]] blocks: address, port, serves = [\"api\", \"chat\", \"admin\"]";

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
            diagonal = above;
        }
    }
    return row[b.size()];
}

std::string nearest_key(const std::string& name) {
    std::string best;
    std::size_t best_distance = name.size() / 2 + 1;
    for (const Key& key : schema()) {
        const std::size_t distance = edit_distance(name, key.name);
        if (distance < best_distance) {
            best_distance = distance;
            best = key.name;
        }
    }
    return best;
}

class Reader {
public:
    LoadedConfig loaded;
    std::vector<std::string> problems;
    std::map<std::string, std::string> origin;

    void read(const ConfigText& source) {
        source_ = source.name;
        try {
            const toml::table table = toml::parse(source.text, source.name);
            table_keys(table, "");
        } catch (const toml::parse_error& e) {
            problems.push_back(source.name + ":" + std::to_string(e.source().begin.line) + ": " +
                               std::string(e.description()));
        }
    }

private:
    std::string place(const toml::node& node) const {
        return source_ + ":" + std::to_string(node.source().begin.line);
    }
    void problem(const toml::node& node, const std::string& what) {
        problems.push_back(place(node) + ": " + what);
    }

    void table_keys(const toml::table& table, const std::string& prefix) {
        for (const auto& [key, node] : table) {
            const std::string name = prefix + std::string(key.str());
            if (name == "listener") {
                listeners(node);
                continue;
            }
            const auto known =
                std::find_if(schema().begin(), schema().end(), [&](const Key& k) { return k.name == name; });
            if (known != schema().end()) {
                if (const auto wrong = known->read(loaded.config, node)) {
                    problem(node, name + ": " + *wrong);
                } else {
                    origin[name] = place(node);
                }
            } else if (const toml::table* inner = node.as_table();
                       inner != nullptr && std::any_of(schema().begin(), schema().end(), [&](const Key& k) {
                           return k.name.starts_with(name + ".");
                       })) {
                table_keys(*inner, name + ".");
            } else {
                const std::string near = nearest_key(name);
                problem(node, "unknown key " + name + (near.empty() ? "" : "; did you mean " + near + "?"));
            }
        }
    }

    void listeners(const toml::node& node) {
        const toml::array* array = node.as_array();
        if (array == nullptr || array->empty() || !array->is_homogeneous<toml::table>()) {
            problem(node, "listener: expected [[listener]] blocks");
            return;
        }
        loaded.config.listeners.clear();
        origin["listener"] = place(node);
        for (const toml::node& item : *array) loaded.config.listeners.push_back(listener(*item.as_table()));
    }

    ListenerConfig listener(const toml::table& table) {
        ListenerConfig out;
        for (const auto& [key, node] : table) {
            if (key == "address") {
                const auto value = node.value_exact<std::string>();
                if (value) out.address = *value;
                if (!value) problem(node, "listener.address: expected a string");
            } else if (key == "port") {
                const auto value = node.value_exact<std::int64_t>();
                const bool fits = value && *value >= 0 && *value <= 65535;
                if (fits) out.port = static_cast<std::uint16_t>(*value);
                if (!fits) problem(node, "listener.port: expected an integer from 0 to 65535");
            } else if (key == "serves") {
                const auto list = string_list(node);
                const bool known =
                    list && !list->empty() && std::all_of(list->begin(), list->end(), [](const auto& s) {
                        return s == "api" || s == "chat" || s == "admin";
                    });
                if (known) out.serves = *list;
                if (!known) problem(node, R"(listener.serves: expected some of ["api", "chat", "admin"])");
            } else {
                problem(node,
                        "unknown key listener." + std::string(key.str()) + "; known: address, port, serves");
            }
        }
        return out;
    }

    std::string source_;
};

std::string show_listeners(const Config& config) {
    std::string out = "[";
    for (const ListenerConfig& l : config.listeners) {
        out += (out.size() > 1 ? ", " : "");
        out += "{address = " + toml_string(l.address) + ", port = " + std::to_string(l.port) +
               ", serves = " + toml_list(l.serves) + "}";
    }
    return out + "]";
}

}  // namespace

Result<LoadedConfig> parse_config(const std::vector<ConfigText>& texts) {
    Reader reader;
    for (const ConfigText& source : texts) reader.read(source);
    if (!reader.problems.empty()) {
        std::string all;
        for (const std::string& problem : reader.problems) all += (all.empty() ? "" : "\n") + problem;
        return fail(Code::kInvalidArgument, all);
    }
    const auto origin_of = [&](const std::string& name) {
        const auto it = reader.origin.find(name);
        return it == reader.origin.end() ? std::string("default") : it->second;
    };
    for (const Key& key : schema()) {
        reader.loaded.keys.push_back(
            {key.name, key.type, key.meaning, key.show(reader.loaded.config), origin_of(key.name)});
    }
    reader.loaded.keys.push_back({"listener", "list of tables", std::string(kListenerMeaning),
                                  show_listeners(reader.loaded.config), origin_of("listener")});
    return std::move(reader.loaded);
}

Result<LoadedConfig> load_config(const std::string& file) {
    PosixFiles files;
    std::vector<ConfigText> texts;
    OSTAL_TRY(const Bytes main_text, read_file(files, file, kMaxFileBytes));
    texts.push_back({file, std::string(as_text(main_text))});
    const std::size_t slash = file.rfind('/');
    const std::string folder = join_path(slash == std::string::npos ? "." : file.substr(0, slash), "conf.d");
    const auto names = files.list_directory(folder);
    if (!names && names.error().code() != Code::kNotFound) return fail(names.error());
    for (const std::string& name : names.value_or(std::vector<std::string>{})) {
        if (!name.ends_with(".toml")) continue;
        const std::string path = join_path(folder, name);
        OSTAL_TRY(const Bytes text, read_file(files, path, kMaxFileBytes));
        texts.push_back({path, std::string(as_text(text))});
    }
    return parse_config(texts);
}

std::string config_schema() {
    const Config defaults;
    std::string out = "# Every key of ostal.toml with its default.\n";
    std::string section;
    for (const Key& key : schema()) {
        const std::size_t dot = key.name.find('.');
        if (key.name.substr(0, dot) != section) {
            section = key.name.substr(0, dot);
            out += "\n[" + section + "]\n";
        }
        out += "# " + key.meaning + " (" + key.type + ")\n" + key.name.substr(dot + 1) + " = " +
               key.show(defaults) + "\n";
    }
    out += "\n# " + std::string(kListenerMeaning) + "\n[[listener]]\naddress = \"127.0.0.1\"\nport = 8443\n" +
           "serves = [\"api\", \"chat\", \"admin\"]\n";
    return out;
}

}  // namespace ostal
