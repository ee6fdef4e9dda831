#include "security/audit/note.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/bytes.h"

namespace ostal::security {
namespace {

constexpr std::uint8_t kEd25519 = 0x01;
constexpr std::string_view kDash = "\xE2\x80\x94 ";  // U+2014 and a space
constexpr std::size_t kMaxNoteBytes = 64 * 1024;
constexpr std::size_t kMaxSignatures = 32;

Bytes typed_key(const VerifierKey& key) {
    Bytes typed{kEd25519};
    append(typed, key.public_key);
    return typed;
}

std::array<std::uint8_t, 4> key_id(const VerifierKey& key) {
    Bytes named;
    append(named, as_bytes(key.name));
    named.push_back('\n');
    append(named, typed_key(key));
    const Digest32 digest = sha256(named);
    return {digest[0], digest[1], digest[2], digest[3]};
}

Error bad_key() {
    return Error(Code::kInvalidArgument, "not a verifier key (name+id+base64 of an Ed25519 key)");
}
Error bad_note(const char* why) {
    return Error(Code::kInvalidArgument, std::string("not a checkpoint: ") + why);
}

// Cuts the first line off; without a line end nothing.
bool take_line(std::string_view& text, std::string_view& line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    line = text.substr(0, end);
    text.remove_prefix(end + 1);
    return true;
}

Result<Checkpoint> parse_body(std::string_view body) {
    std::string_view origin;
    std::string_view size;
    std::string_view root;
    if (!take_line(body, origin) || !take_line(body, size) || !take_line(body, root) || !body.empty()) {
        return fail(bad_note("it has not three lines"));
    }
    Checkpoint checkpoint;
    checkpoint.origin = origin;
    const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), checkpoint.size);
    if (error != std::errc() || std::to_string(checkpoint.size) != size)
        return fail(bad_note("its size is malformed"));
    auto digest = from_base64(root);
    if (!digest || digest->size() != checkpoint.root.size() || to_base64(*digest) != root) {
        return fail(bad_note("its root is malformed"));
    }
    std::copy(digest->begin(), digest->end(), checkpoint.root.begin());
    return checkpoint;
}

}  // namespace

bool is_key_name(std::string_view name) {
    return !name.empty() && name.size() <= 128 &&
           std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7F && c != '+'; });
}

std::string verifier_key_text(const VerifierKey& key) {
    return key.name + "+" + to_hex(key_id(key)) + "+" + to_base64(typed_key(key));
}

Result<VerifierKey> parse_verifier_key(std::string_view text) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    const std::size_t first = text.find('+');
    const std::size_t second = first == std::string_view::npos ? first : text.find('+', first + 1);
    if (second == std::string_view::npos) return fail(bad_key());
    VerifierKey key;
    key.name = text.substr(0, first);
    const auto typed = from_base64(text.substr(second + 1));
    if (!is_key_name(key.name) || !typed || typed->size() != 1 + key.public_key.size())
        return fail(bad_key());
    std::copy(typed->begin() + 1, typed->end(), key.public_key.begin());
    if (verifier_key_text(key) != text) return fail(bad_key());
    return key;
}

std::string checkpoint_body(const Checkpoint& checkpoint) {
    return checkpoint.origin + "\n" + std::to_string(checkpoint.size) + "\n" + to_base64(checkpoint.root) +
           "\n";
}

std::string checkpoint_text(const Checkpoint& checkpoint, const VerifierKey& key,
                            const Ed25519Signature& signature) {
    Bytes signed_part;
    append(signed_part, key_id(key));
    append(signed_part, signature);
    return checkpoint_body(checkpoint) + "\n" + std::string(kDash) + key.name + " " + to_base64(signed_part) +
           "\n";
}

Result<Checkpoint> open_checkpoint(std::string_view text, const VerifierKey& key) {
    if (text.size() > kMaxNoteBytes) return fail(bad_note("it is too long"));
    const std::size_t blank = text.find("\n\n");
    if (blank == std::string_view::npos) return fail(bad_note("it has no signatures"));
    const std::string_view body = text.substr(0, blank + 1);
    std::string_view rest = text.substr(blank + 2);
    OSTAL_TRY(Checkpoint checkpoint, parse_body(body));
    bool verified = false;
    for (std::size_t count = 0; !rest.empty(); ++count) {
        std::string_view line;
        if (count == kMaxSignatures || !take_line(rest, line) || !line.starts_with(kDash)) {
            return fail(bad_note("a signature line is malformed"));
        }
        line.remove_prefix(kDash.size());
        const std::size_t space = line.find(' ');
        if (space == std::string_view::npos || !is_key_name(line.substr(0, space))) {
            return fail(bad_note("a signature line is malformed"));
        }
        const std::string_view encoded = line.substr(space + 1);
        const auto signature = from_base64(encoded);
        if (!signature || signature->size() < 5 || to_base64(*signature) != encoded) {
            return fail(bad_note("a signature is malformed"));
        }
        const auto id = key_id(key);
        if (line.substr(0, space) != key.name || !std::equal(id.begin(), id.end(), signature->begin()))
            continue;
        // A second signature of the same key, or one that does not hold, spoils the note.
        if (verified) return fail(Code::kIntegrity, "the checkpoint is signed twice by the log's key");
        if (auto held = ed25519_verify(key.public_key, as_bytes(body), ByteSpan(*signature).subspan(4));
            !held) {
            return fail(Code::kIntegrity, "the checkpoint's signature does not hold");
        }
        verified = true;
    }
    if (!verified) return fail(Code::kIntegrity, "the checkpoint has no signature of the log's key");
    if (checkpoint.origin != key.name) return fail(Code::kIntegrity, "the checkpoint is of another log");
    return checkpoint;
}

}  // namespace ostal::security
