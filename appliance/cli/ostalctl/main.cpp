// ostalctl: the operator's tool, over the daemon's control socket.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>

#include "appliance/cli/exit_code.h"
#include "appliance/cli/ostalctl/arguments.h"
#include "appliance/cli/ostalctl/commands.h"
#include "appliance/cli/ostalctl/output.h"
#include "appliance/cli/ostalctl/secrets.h"
#include "appliance/config.h"

namespace ostal::ctl {
namespace {

constexpr const char* kDefaultSocket = "/run/ostal/ctl.sock";
constexpr const char* kDefaultConfig = "/etc/ostal/ostal.toml";

void print_help() {
    std::cout << "usage: ostalctl [options] NOUN VERB [arguments]\n\n";
    for (const Command& command : commands()) {
        std::string head = "  " + command.verb + (command.words.empty() ? "" : " " + command.words);
        head.resize(std::max<std::size_t>(head.size() + 1, 34), ' ');
        std::cout << head << command.help << "\n";
    }
    std::cout << "  config check                    check the configuration file, with all its problems\n"
                 "  config show                     every key with its value and where it comes from\n"
                 "  config schema                   every key with its default, as a commented file\n\n"
                 "options:\n"
                 "  --socket PATH    control socket of the daemon (default "
              << kDefaultSocket
              << ")\n"
                 "  --as NAME        act as this user; the password is the first line of standard input\n"
                 "  --config FILE    configuration for `config` (default "
              << kDefaultConfig
              << ")\n"
                 "  -o table|json    output form (default table)\n"
                 "  --quiet          no progress on standard error\n\n"
                 "Secrets are read from standard input, a line each, in the order in which they are asked for.\n"
                 "exit codes: 0 ok, 1 failed, 2 usage, 3 denied, 4 not found, 5 conflict, 6 unavailable, 7 integrity\n";
}

int report(const Error& error) {
    std::cerr << "ostalctl: " << error.to_string() << "\n";
    return exit_code(error.code());
}

int run_config(const Arguments& arguments, const std::string& verb, bool as_json) {
    if (verb == "schema") {
        std::cout << config_schema();
        return 0;
    }
    auto loaded = load_config(arguments.value("--config").value_or(kDefaultConfig));
    if (!loaded) return report(loaded.error());
    if (verb == "check") {
        std::cout << "the configuration is valid\n";
        return 0;
    }
    if (verb != "show") return report(Error(Code::kUsage, "unknown verb: config " + verb));
    json::Array rows;
    for (const ConfigKey& key : loaded->keys) {
        rows.emplace_back(json::Object{{"key", key.name}, {"value", key.value}, {"origin", key.origin}, {"meaning", key.meaning}});
    }
    std::cout << (as_json ? json::to_pretty_string(rows) + "\n" : table(rows, {"key", "value", "origin"}));
    return 0;
}

// The command whose words begin `given`, longest first.
const Command* find_command(const std::vector<std::string>& given, std::vector<std::string>& rest) {
    for (const std::size_t length : {2U, 1U}) {
        if (given.size() < length) continue;
        const std::string verb = length == 2 ? given[0] + " " + given[1] : given[0];
        for (const Command& command : commands()) {
            if (command.verb != verb) continue;
            rest.assign(given.begin() + static_cast<std::ptrdiff_t>(length), given.end());
            return &command;
        }
    }
    return nullptr;
}

void show_progress(const json::Value& progress) {
    if (const json::Value* text = progress.find("text"); text != nullptr && text->is_string()) {
        const std::string quoted = json::quote(text->as_string());
        std::cerr << quoted.substr(1, quoted.size() - 2) << "\n";
    }
}

Result<json::Value> call(Channel& channel, const json::Value& request, const std::vector<int>& descriptors, bool quiet) {
    OSTAL_TRYV(channel.send(request, descriptors));
    for (;;) {
        OSTAL_TRY(const Channel::Message message, channel.receive());
        if (const json::Value* progress = message.value.find("progress")) {
            if (!quiet) show_progress(*progress);
        } else if (const json::Value* error = message.value.find("error")) {
            return fail(error_from_json(*error));
        } else if (const json::Value* result = message.value.find("result")) {
            return *result;
        } else {
            return fail(Code::kInternal, "the daemon's answer cannot be read");
        }
    }
}

void show(const Command& command, const json::Value& result, bool as_json) {
    if (as_json) {
        std::cout << json::to_pretty_string(result) << "\n";
    } else if (result.is_array()) {
        std::cout << table(result.as_array(), command.columns);
    } else if (result.is_object()) {
        std::cout << lines(result.as_object());
    }
}

int run(const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(
        words, {"--single", "--quiet", "--help", "-h"},
        {"--socket", "--as", "--config", "-o", "--user", "--admin", "--officer", "--key-file", "--host", "--auditor-key",
         "--project", "--model", "--scope", "--days", "--role", "--count"});
    if (!arguments) return report(arguments.error());
    if (arguments->has("--help") || arguments->has("-h") || (arguments->words.size() == 1 && arguments->words[0] == "help")) {
        print_help();
        return 0;
    }
    const std::string form = arguments->value("-o").value_or("table");
    if (form != "table" && form != "json") return report(Error(Code::kUsage, "-o takes table or json"));
    if (arguments->words.size() == 2 && arguments->words[0] == "config") {
        return run_config(*arguments, arguments->words[1], form == "json");
    }
    std::vector<std::string> rest;
    const Command* command = find_command(arguments->words, rest);
    if (command == nullptr) return report(Error(Code::kUsage, "unknown verb; ostalctl --help lists them"));

    json::Object message{{"verb", command->verb}};
    if (const auto name = arguments->value("--as")) {
        auto password = read_secret("password of " + *name);
        if (!password) return report(password.error());
        message.append("as", *name);
        message.append("password", std::move(*password));
    }
    auto request = command->prepare(*arguments, rest);
    if (!request) {
        Error error = request.error();
        if (error.code() == Code::kUsage) error = Error(Code::kUsage, command->verb + ": " + error.message());
        return report(error);
    }
    message.append("args", std::move(request->args));
    auto channel = Channel::connect(arguments->value("--socket").value_or(kDefaultSocket));
    if (!channel) return report(channel.error());
    std::vector<int> descriptors;
    for (const Descriptor& descriptor : request->descriptors) descriptors.push_back(descriptor.get());
    const auto result = call(*channel, json::Value(std::move(message)), descriptors, arguments->has("--quiet"));
    if (!result) return report(result.error());
    show(*command, *result, form == "json");
    // A verdict that does not hold is a failure of its own kind.
    const json::Value* ok = result->find("ok");
    return ok != nullptr && ok->is_bool() && !ok->as_bool() ? exit_code(Code::kIntegrity) : 0;
}

}  // namespace
}  // namespace ostal::ctl

int main(int argc, char** argv) {
    return ostal::ctl::run(std::vector<std::string>(argv + 1, argv + argc));
}
