#include "appliance/cli/ostal_bundle/commands.h"

#include <algorithm>
#include <array>
#include <ostream>

#include "appliance/cli/ostal_bundle/create.h"
#include "appliance/cli/ostal_bundle/inspect.h"
#include "appliance/cli/ostal_bundle/key_file.h"
#include "appliance/cli/ostal_bundle/options.h"
#include "appliance/cli/ostal_bundle/root.h"
#include "appliance/cli/ostal_bundle/verify_bundle.h"

namespace ostal::bundle {
namespace {

using security::Ed25519PrivateKey;
using Role = security::MetadataRole;

constexpr std::string_view kUsage = R"(ostal-bundle: signed bundles of model weights

  ostal-bundle keygen --out KEY.pem [--passphrase-file FILE]
  ostal-bundle root --key KEY.pem ... --out ANCHOR.root.json [--role ROLE=KEY[,KEY]] ... [--threshold ROLE=N] ...
                    [--previous OLD.root.json] [--expires TIME]
  ostal-bundle create --model DIR|FILE.gguf --name NAME --version N --key KEY.pem ... --out DIR
                    [--root ANCHOR.root.json ...] [--format FORMAT] [--default-system TEXT] [--license SPDX]
                    [--expires TIME] [--metadata-version N] [--part-bytes N]
  ostal-bundle sign DIR|FILE --key KEY.pem ... [--passphrase-file FILE]
  ostal-bundle verify DIR --trust ANCHOR.root.json ...
  ostal-bundle inspect DIR

Every command takes -o table|json. ROLE is root, timestamp, snapshot, targets or all. A KEY of a role is a PEM file
or 64 hex digits. TIME is such as 2027-12-31T00:00:00Z. Exit codes: 0 ok, 1 failed, 2 usage, 7 integrity.
)";

// What a command has to say: the same facts as an object and as lines.
struct Answer {
    json::Object object;
    std::string text;
};

struct Context {
    const CommandSeams& seams;
    const Terminal& terminal;
};

// Keys named by --key, opened with the passphrase of --passphrase-file.
Result<std::vector<Ed25519PrivateKey>> load_keys(const Context& context, const Options& options) {
    security::SecretBytes passphrase;
    OSTAL_TRY(const auto file, options.one("--passphrase-file"));
    if (file) {
        OSTAL_TRY(passphrase, read_passphrase(context.seams.files, *file));
    }
    std::vector<Ed25519PrivateKey> keys;
    for (const std::string& path : options.all("--key")) {
        OSTAL_TRY(Ed25519PrivateKey key, read_private_key(context.seams.files, path, passphrase.text()));
        keys.push_back(std::move(key));
    }
    if (keys.empty()) return fail(Code::kUsage, "--key is missing");
    return keys;
}

Keys pointers(const std::vector<Ed25519PrivateKey>& keys) {
    Keys out;
    for (const Ed25519PrivateKey& key : keys) out.push_back(&key);
    return out;
}

Result<std::optional<std::int64_t>> expiry(const Options& options) {
    OSTAL_TRY(const auto text, options.one("--expires"));
    if (!text) return std::optional<std::int64_t>();
    auto time = security::parse_utc(*text);
    if (!time) return fail(Code::kUsage, "--expires: " + time.error().message());
    return std::optional<std::int64_t>(*time);
}

Result<std::vector<Bytes>> read_roots(const Context& context, const std::vector<std::string>& paths) {
    std::vector<Bytes> out;
    for (const std::string& path : paths) {
        OSTAL_TRY(Bytes bytes, read_file(context.seams.files, path, security::kMaxMetadataBytes));
        out.push_back(std::move(bytes));
    }
    return out;
}

// ---- keygen ----

Result<Answer> keygen(const Context& context, const std::vector<std::string>& words) {
    OSTAL_TRY(const Options options, Options::parse(words, {"--out", "--passphrase-file", "-o"}, 0));
    OSTAL_TRY(const std::string out, options.required("--out"));
    OSTAL_TRY(const auto passphrase_file, options.one("--passphrase-file"));
    security::SecretBytes passphrase;
    if (passphrase_file) {
        OSTAL_TRY(passphrase, read_passphrase(context.seams.files, *passphrase_file));
    }
    OSTAL_TRY(const auto key,
              write_new_key(context.seams.files, context.seams.random, out, passphrase.text()));
    const std::string id = security::key_id_of(key);
    return Answer{json::Object{{"key", out}, {"fingerprint", id}, {"public", to_hex(key)}},
                  "key          " + out + "\nfingerprint  " + id + "\npublic       " + to_hex(key) + "\n"};
}

// ---- root ----

// "ROLE=VALUE" for one role, or for "all" of them.
Result<std::pair<std::vector<Role>, std::string>> role_value(const std::string& option,
                                                             const std::string& text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) return fail(Code::kUsage, option + " is ROLE=VALUE, found " + text);
    const std::string name = text.substr(0, equals);
    std::string value = text.substr(equals + 1);
    if (name == "all")
        return std::pair{std::vector<Role>(security::kMetadataRoles.begin(), security::kMetadataRoles.end()),
                         value};
    const auto role = security::metadata_role_from_name(name);
    if (!role) return fail(Code::kUsage, option + ": there is no role " + name);
    return std::pair{std::vector<Role>{*role}, value};
}

Result<std::vector<security::Ed25519PublicKey>> public_keys(const Context& context, const std::string& list) {
    std::vector<security::Ed25519PublicKey> out;
    for (std::size_t begin = 0; begin <= list.size();) {
        const std::size_t end = std::min(list.find(',', begin), list.size());
        OSTAL_TRY(const auto key, read_public_key(context.seams.files, list.substr(begin, end - begin)));
        if (std::find(out.begin(), out.end(), key) == out.end()) out.push_back(key);
        begin = end + 1;
    }
    return out;
}

Answer describe_root(const RootReport& report, const std::string& path) {
    json::Object roles;
    std::string text = "root         " + path + "\nversion      " +
                       std::to_string(report.root.metadata.version) + "\nexpires      " +
                       security::format_utc(report.root.metadata.expires_us) + "\n";
    for (const Role role : security::kMetadataRoles) {
        const security::RoleKeys& keys = report.root.keys_of(role);
        json::Array ids;
        std::string line = std::string(metadata_role_name(role));
        line += std::string(13 - line.size(), ' ') + std::to_string(keys.threshold) + " of:";
        for (const security::KeyId& id : keys.key_ids) {
            ids.emplace_back(id);
            line += " " + id;
        }
        text += line + "\n";
        roles.append(std::string(metadata_role_name(role)),
                     json::Object{{"threshold", static_cast<std::int64_t>(keys.threshold)},
                                  {"fingerprints", std::move(ids)}});
    }
    if (!report.is_complete)
        text += "not complete: " + report.missing + "; add signatures with ostal-bundle sign\n";
    return {json::Object{{"root", path},
                         {"version", json::Value(report.root.metadata.version)},
                         {"expires", security::format_utc(report.root.metadata.expires_us)},
                         {"roles", std::move(roles)},
                         {"complete", report.is_complete}},
            text};
}

Result<Answer> root(const Context& context, const std::vector<std::string>& words) {
    OSTAL_TRY(const Options options, Options::parse(words,
                                                    {"--key", "--out", "--role", "--threshold", "--previous",
                                                     "--expires", "--passphrase-file", "-o"},
                                                    0));
    OSTAL_TRY(const std::string out, options.required("--out"));
    OSTAL_TRY(const auto keys, load_keys(context, options));
    RootOptions root_options;
    root_options.keys = pointers(keys);
    OSTAL_TRY(root_options.expires_us, expiry(options));
    OSTAL_TRY(const auto previous, options.one("--previous"));
    if (previous) {
        OSTAL_TRY(root_options.previous,
                  read_file(context.seams.files, *previous, security::kMaxMetadataBytes));
    }
    for (const std::string& text : options.all("--role")) {
        OSTAL_TRY(const auto value, role_value("--role", text));
        OSTAL_TRY(const auto holders, public_keys(context, value.second));
        for (const Role role : value.first) root_options.holders[static_cast<std::size_t>(role)] = holders;
    }
    for (const std::string& text : options.all("--threshold")) {
        OSTAL_TRY(const auto value, role_value("--threshold", text));
        const auto threshold = security::parse_version(value.second);
        if (!threshold || *threshold > 100)
            return fail(Code::kUsage, "--threshold: expected ROLE=N, found " + text);
        for (const Role role : value.first) {
            root_options.thresholds[static_cast<std::size_t>(role)] = static_cast<std::uint32_t>(*threshold);
        }
    }
    OSTAL_TRY(const RootReport report, make_root(context.seams.clock, root_options));
    OSTAL_TRYV(replace_file(context.seams.files, out, report.file));
    OSTAL_TRYV(make_readable(out));
    return describe_root(report, out);
}

// ---- create and sign ----

void add_roles(Answer& answer, const std::vector<RoleState>& roles) {
    json::Array list;
    for (const RoleState& role : roles) {
        list.emplace_back(json::Object{{"role", metadata_role_name(role.role)},
                                       {"version", json::Value(role.version)},
                                       {"signatures", static_cast<std::int64_t>(role.signatures)},
                                       {"threshold", static_cast<std::int64_t>(role.threshold)},
                                       {"complete", role.is_complete()}});
        std::string line = std::string(metadata_role_name(role.role));
        line += std::string(13 - line.size(), ' ') + "version " + std::to_string(role.version) + ", " +
                std::to_string(role.signatures) + " of " + std::to_string(role.threshold) + " signatures";
        if (role.is_stale) line += ", lists an older file: its holder runs ostal-bundle sign last";
        answer.text += line + "\n";
    }
    const bool complete =
        std::all_of(roles.begin(), roles.end(), [](const RoleState& role) { return role.is_complete(); });
    answer.object.append("roles", std::move(list));
    answer.object.append("complete", complete);
    if (!complete) answer.text += "not complete: other holders of keys add theirs with ostal-bundle sign\n";
}

Result<CreateOptions> create_options(const Context& context, const Options& options) {
    CreateOptions out;
    OSTAL_TRY(out.model_path, options.required("--model"));
    OSTAL_TRY(out.name, options.required("--name"));
    OSTAL_TRY(const auto version, options.number("--version"));
    if (!version) return fail(Code::kUsage, "--version is missing");
    out.version = *version;
    OSTAL_TRY(out.out, options.required("--out"));
    OSTAL_TRY(out.roots, read_roots(context, options.all("--root")));
    OSTAL_TRY(out.format, options.one("--format"));
    OSTAL_TRY(out.default_system, options.one("--default-system"));
    OSTAL_TRY(const auto license, options.one("--license"));
    out.license = license.value_or("");
    OSTAL_TRY(out.expires_us, expiry(options));
    OSTAL_TRY(out.metadata_version, options.number("--metadata-version"));
    OSTAL_TRY(const auto part_bytes, options.number("--part-bytes"));
    out.part_bytes = part_bytes.value_or(kDefaultPartBytes);
    return out;
}

Result<Answer> create(const Context& context, const std::vector<std::string>& words) {
    OSTAL_TRY(const Options options,
              Options::parse(words,
                             {"--model", "--name", "--version", "--key", "--out", "--root", "--format",
                              "--default-system", "--license", "--expires", "--metadata-version",
                              "--part-bytes", "--passphrase-file", "-o"},
                             0));
    OSTAL_TRY(CreateOptions create_with, create_options(context, options));
    OSTAL_TRY(const auto keys, load_keys(context, options));
    create_with.keys = pointers(keys);
    create_with.on_file = [&](const std::string& file, std::uint64_t bytes) {
        context.terminal.err << "added " << file << " (" << bytes << " bytes)\n";
    };
    OSTAL_TRY(const CreateReport report,
              create_bundle(context.seams.files, context.seams.clock, create_with));
    for (const std::string& name : report.left_out) context.terminal.err << "left out " << name << "\n";
    const security::ModelManifest& manifest = report.manifest;
    Answer answer{json::Object{{"bundle", create_with.out},
                               {"model", manifest.model},
                               {"version", json::Value(manifest.version)},
                               {"format", manifest.format},
                               {"license", manifest.license},
                               {"files", static_cast<std::int64_t>(manifest.files.size())},
                               {"total_bytes", json::Value(manifest.total_bytes())},
                               {"manifest_sha256", manifest.digest_hex()}},
                  "bundle       " + create_with.out + "\nmodel        " + manifest.model + " version " +
                      std::to_string(manifest.version) + "\nformat       " + manifest.format +
                      "\nfiles        " + std::to_string(manifest.files.size()) + ", " +
                      std::to_string(manifest.total_bytes()) + " bytes\nmanifest     " +
                      manifest.digest_hex() + "\n"};
    add_roles(answer, report.roles);
    if (report.made_root) {
        answer.text += "trust it by   " + create_with.out +
                       "/metadata/1.root.json (copy it to trust.d/<name>.root.json)\n";
    }
    answer.object.append("made_root", report.made_root);
    return answer;
}

Result<Answer> sign(const Context& context, const std::vector<std::string>& words) {
    OSTAL_TRY(const Options options, Options::parse(words, {"--key", "--passphrase-file", "-o"}, 1));
    if (options.words().empty()) return fail(Code::kUsage, "which bundle or metadata file?");
    const std::string& path = options.words()[0];
    OSTAL_TRY(const auto keys, load_keys(context, options));
    OSTAL_TRY(const FileInfo info, context.seams.files.info(path));
    if (info.kind == FileInfo::Kind::kRegular) {
        OSTAL_TRY(Bytes file, read_file(context.seams.files, path, security::kMaxMetadataBytes));
        for (const Ed25519PrivateKey& key : keys) {
            OSTAL_TRY(file, security::add_signature(file, key));
        }
        OSTAL_TRYV(replace_file(context.seams.files, path, file));
        OSTAL_TRYV(make_readable(path));
        OSTAL_TRY(const security::Metadata head, security::parse_metadata_head(file));
        return Answer{
            json::Object{{"file", path}, {"signatures", static_cast<std::int64_t>(head.signatures.size())}},
            path + " has " + std::to_string(head.signatures.size()) + " signatures\n"};
    }
    OSTAL_TRY(Repository repository, read_repository(context.seams.files, path));
    OSTAL_TRYV(add_signatures(repository, pointers(keys)));
    OSTAL_TRYV(write_repository(context.seams.files, repository));
    OSTAL_TRY(const auto roles, role_states(repository));
    Answer answer{json::Object{{"bundle", path}}, "bundle       " + path + "\n"};
    add_roles(answer, roles);
    return answer;
}

// ---- verify and inspect ----

Result<Answer> verify(const Context& context, const std::vector<std::string>& words) {
    OSTAL_TRY(const Options options, Options::parse(words, {"--trust", "-o"}, 1));
    if (options.words().empty()) return fail(Code::kUsage, "which bundle?");
    TrustView trust;
    trust.now_us = context.seams.clock.wall_now_us();
    for (const std::string& path : options.all("--trust")) {
        OSTAL_TRY(auto roots, read_roots(context, {path}));
        trust.anchors.push_back({path, std::move(roots)});
    }
    if (trust.anchors.empty()) return fail(Code::kUsage, "--trust is missing: whom do you trust to sign?");
    OSTAL_TRY(const BundleCheck check, check_bundle(options.words()[0], trust, [&](const std::string& file) {
                  context.terminal.err << "good " << file << "\n";
              }));
    Answer answer{to_json(check.bundle).as_object(), "signed by    " + check.bundle.anchor + "\n"};
    json::Array present;
    for (const PresentVersion& version : check.versions) {
        const std::string name =
            version.manifest.model + " version " + std::to_string(version.manifest.version);
        answer.text += "model        " + name +
                       (version.has_files ? "" : " (listed, its files are not here)") + "\nmanifest     " +
                       version.manifest.digest_hex() + "\n";
        if (version.has_files) {
            present.emplace_back(json::Object{{"model", version.manifest.model},
                                              {"version", json::Value(version.manifest.version)}});
        }
    }
    answer.object.append("verified_files", std::move(present));
    return answer;
}

Result<Answer> inspect(const Context& context, const std::vector<std::string>& words) {
    OSTAL_TRY(const Options options, Options::parse(words, {"-o"}, 1));
    if (options.words().empty()) return fail(Code::kUsage, "which bundle?");
    OSTAL_TRY(const Repository repository, read_repository(context.seams.files, options.words()[0]));
    OSTAL_TRY(json::Object object, inspect_repository(repository));
    const std::string text = inspect_text(object);
    return Answer{std::move(object), text};
}

int exit_code_of(Code code) {
    if (code == Code::kUsage) return 2;
    return code == Code::kIntegrity ? 7 : 1;
}

using Command = Result<Answer> (*)(const Context&, const std::vector<std::string>&);
constexpr std::array<std::pair<std::string_view, Command>, 6> kCommands = {{{"keygen", keygen},
                                                                            {"root", root},
                                                                            {"create", create},
                                                                            {"sign", sign},
                                                                            {"verify", verify},
                                                                            {"inspect", inspect}}};

// Takes "-o FORMAT" out of the words.
Result<bool> wants_json(std::vector<std::string>& words) {
    for (std::size_t i = 0; i < words.size(); ++i) {
        std::string value;
        std::size_t count = 1;
        if (words[i] == "-o" && i + 1 < words.size()) {
            value = words[i + 1];
            count = 2;
        } else if (words[i].starts_with("-o=")) {
            value = words[i].substr(3);
        } else {
            continue;
        }
        if (value != "json" && value != "table")
            return fail(Code::kUsage, "-o is table or json, found " + value);
        words.erase(words.begin() + static_cast<std::ptrdiff_t>(i),
                    words.begin() + static_cast<std::ptrdiff_t>(i + count));
        return value == "json";
    }
    return false;
}

int report(const Error& error, bool as_json, const Terminal& terminal) {
    const int code = exit_code_of(error.code());
    if (as_json) {
        const json::Object object = {{"error", json::Object{{"code", code_name(error.code())},
                                                            {"reason", error.reason()},
                                                            {"message", error.to_string()}}}};
        terminal.out << json::to_string(object) << "\n";
    }
    terminal.err << "ostal-bundle: " << error.to_string() << "\n";
    if (code == 2) terminal.err << "Try: ostal-bundle --help\n";
    return code;
}

}  // namespace

int run_command(const std::vector<std::string>& all_words, const CommandSeams& seams,
                const Terminal& terminal) {
    if (!all_words.empty() && (all_words[0] == "--help" || all_words[0] == "help")) {
        terminal.out << kUsage;
        return 0;
    }
    if (all_words.empty()) {
        terminal.err << kUsage;
        return 2;
    }
    const auto command = std::find_if(kCommands.begin(), kCommands.end(),
                                      [&](const auto& entry) { return entry.first == all_words[0]; });
    if (command == kCommands.end()) {
        return report(Error(Code::kUsage, "there is no command " + all_words[0]), false, terminal);
    }
    std::vector<std::string> words(all_words.begin() + 1, all_words.end());
    const auto as_json = wants_json(words);
    if (!as_json) return report(as_json.error(), false, terminal);
    const auto answer = command->second(Context{seams, terminal}, words);
    if (!answer) return report(answer.error(), *as_json, terminal);
    terminal.out << (*as_json ? json::to_string(answer->object) + "\n" : answer->text);
    return 0;
}

}  // namespace ostal::bundle
