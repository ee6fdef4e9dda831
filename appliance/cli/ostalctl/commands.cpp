#include "appliance/cli/ostalctl/commands.h"

#include <charconv>

#include "appliance/cli/ostalctl/medium.h"
#include "appliance/cli/ostalctl/secrets.h"
#include "base/bytes.h"
#include "base/file.h"

namespace ostal::ctl {
namespace {

using Rest = std::vector<std::string>;

tl::unexpected<Error> usage(const std::string& what) { return fail(Code::kUsage, what); }

Result<Request> no_arguments(const Arguments&, const Rest& rest) {
    if (!rest.empty()) return usage("unexpected argument " + rest[0]);
    return Request{};
}

// Positional words by name, all needed.
auto words(std::vector<std::string> names) {
    return [names = std::move(names)](const Arguments&, const Rest& rest) -> Result<Request> {
        if (rest.size() != names.size()) {
            std::string expected;
            for (const std::string& name : names) expected += " " + name;
            return usage("expected" + expected);
        }
        Request request;
        for (std::size_t i = 0; i < names.size(); ++i) request.args.append(names[i], rest[i]);
        return request;
    };
}

Result<std::int64_t> number(const std::string& text, const std::string& what) {
    std::int64_t out = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), out);
    if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return usage(what + " must be a number, not " + text);
    return out;
}

// NAME and VERSION.
Result<Request> model_version(const Arguments&, const Rest& rest) {
    if (rest.size() != 2) return usage("expected NAME VERSION");
    Request request;
    OSTAL_TRY(const std::int64_t version, number(rest[1], "VERSION"));
    request.args.append("name", rest[0]);
    request.args.append("version", version);
    return request;
}

// The secret of a slot: --key-file, else a passphrase from standard input.
Status add_slot_secret(const Arguments& arguments, json::Object& args, const std::string& prompt) {
    if (const auto path = arguments.value("--key-file")) {
        PosixFiles files;
        OSTAL_TRY(const Bytes key, read_file(files, *path, 4096));
        args.append("key", to_hex(key));
        return {};
    }
    OSTAL_TRY(std::string passphrase, read_secret(prompt));
    args.append("passphrase", std::move(passphrase));
    return {};
}

Result<Request> setup(const Arguments& arguments, const Rest& rest) {
    if (!rest.empty()) return usage("unexpected argument " + rest[0]);
    const bool single = arguments.has("--single");
    Request request;
    request.args.append("single", single);
    std::vector<std::string> names;
    if (single) {
        names.push_back(arguments.value("--user").value_or("owner"));
    } else {
        names = arguments.values("--officer");
        if (names.size() != 2 || !arguments.has("--admin")) {
            return usage("expected --single [--user NAME], or --admin NAME --officer NAME --officer NAME");
        }
        names.insert(names.begin(), *arguments.value("--admin"));
    }
    OSTAL_TRYV(add_slot_secret(arguments, request.args, "passphrase that unseals the appliance"));
    json::Array users;
    for (const std::string& name : names) {
        OSTAL_TRY(std::string password, read_secret("password of " + name));
        users.emplace_back(json::Object{{"name", name}, {"password", std::move(password)}});
    }
    request.args.append("users", std::move(users));
    json::Array hosts;
    for (const std::string& host : arguments.values("--host")) hosts.emplace_back(host);
    request.args.append("hosts", std::move(hosts));
    request.args.append("auditor_key", arguments.value("--auditor-key").value_or(""));
    return request;
}

Result<Request> slot_secret(const Arguments& arguments, const Rest& rest) {
    if (!rest.empty()) return usage("unexpected argument " + rest[0]);
    Request request;
    OSTAL_TRYV(add_slot_secret(arguments, request.args, "passphrase"));
    return request;
}

Result<Request> slot_add(const Arguments& arguments, const Rest& rest) {
    if (rest.size() != 1) return usage("expected LABEL");
    Request request;
    request.args.append("label", rest[0]);
    OSTAL_TRYV(add_slot_secret(arguments, request.args, "new passphrase"));
    return request;
}

Result<Request> model_import(const Arguments&, const Rest& rest) {
    if (rest.size() != 1) return usage("expected FOLDER (the medium with metadata/ and targets/)");
    OSTAL_TRY(auto medium, open_medium(rest[0]));
    Request request;
    json::Array files;
    for (MediumFile& file : medium) {
        files.emplace_back(file.path);
        request.descriptors.push_back(std::move(file.descriptor));
    }
    request.args.append("files", std::move(files));
    return request;
}

Result<Request> model_grant(const Arguments& arguments, const Rest& rest) {
    if (rest.size() != 1) return usage("expected NAME [--project PROJECT]");
    Request request;
    request.args.append("name", rest[0]);
    request.args.append("project", arguments.value("--project").value_or("default"));
    return request;
}

Result<Request> user_create(const Arguments& arguments, const Rest& rest) {
    if (rest.size() != 1) return usage("expected NAME [--role ROLE ...]");
    Request request;
    request.args.append("name", rest[0]);
    OSTAL_TRY(std::string password, read_secret("password of " + rest[0]));
    request.args.append("password", std::move(password));
    json::Array roles;
    for (const std::string& role : arguments.values("--role")) roles.emplace_back(role);
    request.args.append("roles", std::move(roles));
    return request;
}

Result<Request> user_password(const Arguments&, const Rest& rest) {
    if (rest.size() != 1) return usage("expected NAME");
    Request request;
    request.args.append("name", rest[0]);
    OSTAL_TRY(std::string password, read_secret("new password of " + rest[0]));
    request.args.append("password", std::move(password));
    return request;
}

Result<Request> key_create(const Arguments& arguments, const Rest& rest) {
    if (rest.size() != 1) return usage("expected NAME [--project PROJECT] [--model MODEL ...] [--scope PERMISSION ...] [--days N]");
    Request request;
    request.args.append("name", rest[0]);
    request.args.append("project", arguments.value("--project").value_or("default"));
    json::Array models;
    for (const std::string& model : arguments.values("--model")) models.emplace_back(model);
    request.args.append("models", std::move(models));
    json::Array scopes;
    for (const std::string& scope : arguments.values("--scope")) scopes.emplace_back(scope);
    request.args.append("scopes", std::move(scopes));
    OSTAL_TRY(const std::int64_t days, number(arguments.value("--days").value_or("365"), "--days"));
    request.args.append("days", days);
    return request;
}

Result<Request> key_list(const Arguments& arguments, const Rest& rest) {
    if (!rest.empty()) return usage("unexpected argument " + rest[0]);
    Request request;
    request.args.append("project", arguments.value("--project").value_or("default"));
    return request;
}

Result<Request> audit_tail(const Arguments& arguments, const Rest& rest) {
    if (!rest.empty()) return usage("unexpected argument " + rest[0]);
    Request request;
    OSTAL_TRY(const std::int64_t count, number(arguments.value("--count").value_or("20"), "--count"));
    request.args.append("count", count);
    return request;
}

}  // namespace

const std::vector<Command>& commands() {
    static const std::vector<Command> table = {
        {"setup", "", "set the appliance up: keystore, first users, certificates (once)", {}, setup},
        {"status", "", "what the appliance is doing", {}, no_arguments},
        {"unseal", "", "open the keystore (passphrase on stdin, or --key-file FILE)", {}, slot_secret},
        {"seal", "", "unload models, wipe keys, end streams", {}, no_arguments},
        {"slot add", "LABEL", "add a way to unseal (passphrase on stdin, or --key-file FILE)", {}, slot_add},
        {"slot list", "", "the ways to unseal", {"id", "kind", "label", "created"}, no_arguments},
        {"slot remove", "ID", "remove a way to unseal; one must remain", {}, words({"id"})},
        {"model import", "FOLDER", "verify a signed bundle and store its models encrypted", {"name", "version", "state"}, model_import},
        {"model list", "", "stored versions and their states", {"name", "version", "state", "loaded", "format", "bytes", "digest"}, no_arguments},
        {"model verify", "NAME VERSION", "check signature, digests and every encrypted byte again", {}, model_version},
        {"model approve", "NAME VERSION", "approve a verified version", {}, model_version},
        {"model activate", "NAME VERSION", "load an approved version and let it answer", {}, model_version},
        {"model rollback", "NAME", "go back to the version before", {}, words({"name"})},
        {"model grant", "NAME", "let a project use a model (--project, default: default)", {}, model_grant},
        {"user create", "NAME", "make a user (password on stdin; --role ROLE ...)", {}, user_create},
        {"user list", "", "users and their roles", {"id", "name", "roles", "disabled", "created"}, no_arguments},
        {"user disable", "NAME", "refuse a user from now on", {}, words({"name"})},
        {"user enable", "NAME", "admit a disabled user again", {}, words({"name"})},
        {"user password", "NAME", "set a new password (on stdin)", {}, user_password},
        {"key create", "NAME", "make an API key; its text is shown once", {}, key_create},
        {"key list", "", "API keys of a project", {"id", "name", "prefix", "models", "created", "expires", "revoked", "last_used"}, key_list},
        {"key revoke", "ID", "revoke an API key at once", {}, words({"id"})},
        {"audit tail", "", "the last records (--count N)", {"seq", "t", "actor", "action", "object", "decision", "status"}, audit_tail},
        {"audit verify", "", "verify the whole audit log", {}, no_arguments},
        {"audit recover", "", "go on after the audit log could not be written and the cause is gone", {}, no_arguments},
    };
    return table;
}

}  // namespace ostal::ctl
