// ostal-audit: reads and verifies an audit log from its files. No daemon, no database.
//
// Exit status: 0 the log holds, 1 it does not or cannot be read, 2 wrong usage.
#include <charconv>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/safe_text.h"
#include "security/audit/layout.h"
#include "security/audit/record.h"
#include "security/audit/scan.h"
#include "security/audit/verify.h"
#include "security/crypto/x25519.h"
#include "security/secret.h"

namespace {

using namespace ostal;
using namespace ostal::security;

constexpr std::string_view kUsage =
    "usage: ostal-audit verify DIR [--key VKEYFILE] [--against OLD.checkpoint] [--mac-key FILE]\n"
    "                              [-o table|json]\n"
    "       ostal-audit show DIR [--from N] [--count N]   records as JSON, one a line\n"
    "       ostal-audit tail DIR [-n N]                   the last records\n"
    "       ostal-audit open-key BOXFILE --secret FILE    the MAC key from the box sealed to the auditor\n"
    "\n"
    "verify recomputes every hash, the chain, the tiles, the root and the signature of the last\n"
    "checkpoint. Without --key it takes log.vkey from DIR: that proves the log consistent, not who wrote\n"
    "it. A log that was cut back to one of its earlier checkpoints is found only with --against a later\n"
    "one. --mac-key is the key that set-up gave the auditor (64 hex digits or 32 bytes); it also names the\n"
    "first bad record where hashes cannot.\n";

int usage(const std::string& why) {
    std::fprintf(stderr, "ostal-audit: %s\n%s", why.c_str(), kUsage.data());
    return 2;
}

int failure(const Error& error) {
    std::fprintf(stderr, "ostal-audit: %s\n", safe_text(error.to_string(), 2000).c_str());
    return 1;
}

// Options with a value, in the order given; everything else is an operand.
struct Arguments {
    std::vector<std::string> operands;
    std::vector<std::pair<std::string, std::string>> options;

    std::optional<std::string> option(std::string_view name) const {
        for (const auto& [key, value] : options) {
            if (key == name) return value;
        }
        return std::nullopt;
    }
};

Result<Arguments> parse_arguments(const std::vector<std::string>& words,
                                  const std::vector<std::string_view>& known) {
    Arguments arguments;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (!words[i].starts_with('-')) {
            arguments.operands.push_back(words[i]);
            continue;
        }
        bool is_known = false;
        for (const std::string_view name : known) is_known = is_known || name == words[i];
        if (!is_known) return fail(Code::kUsage, "unknown option " + safe_text(words[i], 64));
        if (i + 1 == words.size()) return fail(Code::kUsage, words[i] + " needs a value");
        if (arguments.option(words[i])) return fail(Code::kUsage, words[i] + " is given twice");
        arguments.options.emplace_back(words[i], words[i + 1]);
        ++i;
    }
    if (arguments.operands.size() != 1) return fail(Code::kUsage, "one DIR or FILE is expected");
    return arguments;
}

Result<std::uint64_t> number(const Arguments& arguments, std::string_view name, std::uint64_t otherwise) {
    const auto text = arguments.option(name);
    if (!text) return otherwise;
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error == std::errc() && end == text->data() + text->size()) return value;
    return fail(Code::kUsage, std::string(name) + " needs a number");
}

Result<std::optional<std::string>> file_option(Files& files, const Arguments& arguments,
                                               std::string_view name) {
    const auto path = arguments.option(name);
    if (!path) return std::optional<std::string>();
    OSTAL_TRY(const Bytes bytes, read_file(files, *path, 64 * 1024));
    return std::optional(std::string(as_text(bytes)));
}

// 64 hex digits with or without a line end, or 32 bytes.
Result<Bytes> key_bytes(const std::string& text) {
    if (text.size() == 32) return Bytes(text.begin(), text.end());
    std::string_view digits = text;
    if (digits.ends_with('\n')) digits.remove_suffix(1);
    auto bytes = from_hex(digits);
    if (bytes && bytes->size() == 32) return bytes;
    return fail(Code::kInvalidArgument, "a key file holds 64 hex digits or 32 bytes");
}

json::Value optional_number(const std::optional<std::uint64_t>& value) {
    return value ? json::Value(*value) : json::Value(nullptr);
}

std::string as_json(const AuditVerdict& verdict) {
    json::Array notes;
    for (const std::string& note : verdict.notes) notes.emplace_back(note);
    json::Object object;
    object.append("ok", verdict.ok);
    object.append("records", verdict.records);
    object.append("checkpoint_size", verdict.checkpoint_size);
    object.append("root", verdict.root);
    object.append("authorship", verdict.authorship);
    object.append("macs_checked", verdict.macs_checked);
    object.append("first_bad", optional_number(verdict.first_bad));
    object.append("bad_from", verdict.bad_from);
    object.append("bad_to", verdict.bad_to);
    object.append("problem", verdict.problem);
    object.append("notes", std::move(notes));
    return json::to_string(object) + "\n";
}

std::string as_table(const AuditVerdict& verdict) {
    std::string text = verdict.ok ? "OK" : "FAILED: " + verdict.problem;
    text += "\nrecords      " + std::to_string(verdict.records) + "\nsigned       " +
            std::to_string(verdict.checkpoint_size) + "\n";
    if (!verdict.root.empty()) text += "root         " + verdict.root + "\n";
    if (verdict.first_bad) {
        text += "first bad    " + std::to_string(*verdict.first_bad) + "\n";
    } else if (verdict.bad_to > verdict.bad_from) {
        text += "first bad    one of " + std::to_string(verdict.bad_from) + " to " +
                std::to_string(verdict.bad_to - 1) + "\n";
    }
    for (const std::string& note : verdict.notes) text += "note         " + note + "\n";
    return text;
}

int verify(Files& files, const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words, {"--key", "--against", "--mac-key", "-o"});
    if (!arguments) return usage(arguments.error().message());
    const std::string form = arguments->option("-o").value_or("table");
    if (form != "table" && form != "json") return usage("-o is table or json");
    AuditVerifyOptions options;
    options.folder = arguments->operands[0];
    auto key = file_option(files, *arguments, "--key");
    if (!key) return failure(key.error());
    options.verifier_key = std::move(*key);
    auto older = file_option(files, *arguments, "--against");
    if (!older) return failure(older.error());
    options.older_checkpoint = std::move(*older);
    auto mac_key = file_option(files, *arguments, "--mac-key");
    if (!mac_key) return failure(mac_key.error());
    if (*mac_key) {
        auto bytes = key_bytes(**mac_key);
        if (!bytes) return failure(bytes.error());
        options.mac_key = std::move(*bytes);
    }
    const auto verdict = verify_audit(options, files);
    if (!verdict) return failure(verdict.error());
    const std::string text = form == "json" ? as_json(*verdict) : as_table(*verdict);
    std::fwrite(text.data(), 1, text.size(), stdout);
    return verdict->ok ? 0 : 1;
}

// A record as it lies in the log; what is none is shown escaped, so that it cannot play with the terminal.
void print(std::string_view text) {
    std::string line(text);
    if (!parse_record(text)) line = json::to_string(json::Object{{"malformed", safe_text(text, 4096)}});
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), stdout);
}

// Records from `from` on: bundle by bundle, over gaps.
int print_records(Files& files, const std::string& folder, const AuditScan& scan, std::uint64_t from,
                  std::uint64_t count) {
    std::map<std::uint64_t, std::string> bundles = scan.closed;
    bundles.insert(scan.open.begin(), scan.open.end());
    for (auto at = bundles.lower_bound(from / kTileWidth); at != bundles.end() && count > 0; ++at) {
        const auto bytes = read_file(files, join_path(folder, at->second), kMaxBundleBytes);
        if (!bytes) return failure(bytes.error());
        const Frames frames = split_frames(*bytes);
        for (std::size_t i = 0; i < frames.records.size() && count > 0; ++i) {
            if (at->first * kTileWidth + i < from) continue;
            print(frames.records[i]);
            --count;
        }
    }
    return 0;
}

int show(Files& files, const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words, {"--from", "--count"});
    if (!arguments) return usage(arguments.error().message());
    const auto from = number(*arguments, "--from", 0);
    const auto count = number(*arguments, "--count", UINT64_MAX);
    if (!from || !count) return usage((from ? count : from).error().message());
    const auto scan = scan_audit_folder(files, arguments->operands[0]);
    if (!scan) return failure(scan.error());
    return print_records(files, arguments->operands[0], *scan, *from, *count);
}

int tail(Files& files, const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words, {"-n"});
    if (!arguments) return usage(arguments.error().message());
    const auto count = number(*arguments, "-n", 20);
    if (!count) return usage(count.error().message());
    const std::string& folder = arguments->operands[0];
    const auto scan = scan_audit_folder(files, folder);
    if (!scan) return failure(scan.error());
    const auto& last = scan->open.empty() ? scan->closed : scan->open;
    if (last.empty()) return 0;
    const auto bytes = read_file(files, join_path(folder, last.rbegin()->second), kMaxBundleBytes);
    if (!bytes) return failure(bytes.error());
    const std::uint64_t end = last.rbegin()->first * kTileWidth + split_frames(*bytes).records.size();
    return print_records(files, folder, *scan, end > *count ? end - *count : 0, *count);
}

int open_key(Files& files, const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words, {"--secret"});
    if (!arguments) return usage(arguments.error().message());
    if (!arguments->option("--secret")) return usage("--secret is needed");
    auto secret_text = file_option(files, *arguments, "--secret");
    if (!secret_text) return failure(secret_text.error());
    auto secret = key_bytes(**secret_text);
    wipe(**secret_text);
    if (!secret) return failure(secret.error());
    const auto box_text = read_file(files, arguments->operands[0], 64 * 1024);
    if (!box_text) return failure(box_text.error());
    std::string_view encoded = as_text(*box_text);
    if (encoded.ends_with('\n')) encoded.remove_suffix(1);
    const auto box = from_base64(encoded);
    if (!box) return failure(box.error());
    const auto pair = X25519KeyPair::from_private(KeyView(secret->data(), 32));
    wipe(*secret);
    const auto opened = open_sealed(pair, *box);
    if (!opened) return failure(opened.error());
    std::string digits = to_hex(opened->bytes()) + "\n";
    std::fwrite(digits.data(), 1, digits.size(), stdout);
    wipe(digits);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.empty()) return usage("a command is expected");
    if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
        std::fwrite(kUsage.data(), 1, kUsage.size(), stdout);
        return 0;
    }
    PosixFiles files;
    const std::vector<std::string> rest(words.begin() + 1, words.end());
    if (words[0] == "verify") return verify(files, rest);
    if (words[0] == "show") return show(files, rest);
    if (words[0] == "tail") return tail(files, rest);
    if (words[0] == "open-key") return open_key(files, rest);
    return usage("unknown command " + safe_text(words[0], 64));
}
