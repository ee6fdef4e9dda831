#include "appliance/cli/ostal_bundle/key_file.h"

#include <algorithm>

namespace ostal::bundle {
namespace {

constexpr std::uint64_t kMaxKeyFileBytes = 64 * 1024;

// The file's bytes in locked memory; the copy that read_file made is wiped.
Result<security::SecretBytes> read_secret(Files& files, const std::string& path) {
    OSTAL_TRY(Bytes content, read_file(files, path, kMaxKeyFileBytes));
    security::SecretBytes secret = security::SecretBytes::copy_of(content);
    security::wipe(content);
    return secret;
}

}  // namespace

Result<security::Ed25519PublicKey> write_new_key(Files& files, RandomSource& random, const std::string& path,
                                                 std::string_view passphrase) {
    const auto key = security::Ed25519PrivateKey::generate(random);
    const security::SecretBytes pem = key.to_pkcs8_pem(passphrase);
    OSTAL_TRY(const auto file, files.open(path, Files::Open::kCreate));
    Status status = file->write(pem.bytes());
    if (status) status = file->fsync();
    if (!status) {
        (void)files.remove_file(path);
        return fail(std::move(status).error());
    }
    return key.public_key();
}

Result<security::Ed25519PrivateKey> read_private_key(Files& files, const std::string& path,
                                                     std::string_view passphrase) {
    OSTAL_TRY(const FileInfo info, files.info(path));
    if ((info.mode & 077U) != 0) {
        return fail(Code::kInvalidArgument, "others may read the key file " + path + ": chmod 600 it first");
    }
    OSTAL_TRY(const security::SecretBytes pem, read_secret(files, path));
    auto key = security::Ed25519PrivateKey::from_pkcs8_pem(pem.text(), passphrase);
    if (!key) return fail(std::move(key).error().with("while reading the key " + path));
    return key;
}

Result<security::Ed25519PublicKey> read_public_key(Files& files, const std::string& text) {
    if (text.size() == 64 && !files.info(text)) {
        OSTAL_TRY(const Bytes bytes, from_hex(text));
        security::Ed25519PublicKey key{};
        std::copy(bytes.begin(), bytes.end(), key.begin());
        return key;
    }
    OSTAL_TRY(const security::SecretBytes pem, read_secret(files, text));
    if (pem.text().find("PUBLIC KEY") != std::string_view::npos) {
        return security::ed25519_public_key_from_pem(pem.text());
    }
    auto key = security::Ed25519PrivateKey::from_pkcs8_pem(pem.text());
    if (!key) return fail(std::move(key).error().with("while reading the key " + text));
    return key->public_key();
}

Result<security::SecretBytes> read_passphrase(Files& files, const std::string& path) {
    OSTAL_TRY(const security::SecretBytes content, read_secret(files, path));
    const std::string_view line = content.text().substr(0, content.text().find_first_of("\r\n"));
    if (line.empty())
        return fail(Code::kInvalidArgument, "the passphrase file " + path + " has an empty first line");
    return security::SecretBytes::copy_of(as_bytes(line));
}

}  // namespace ostal::bundle
