#include "security/audit/note.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace ostal::security {
namespace {

struct Signed {
    VerifierKey key;
    Checkpoint checkpoint;
    std::string text;
};
Signed sample() {
    SeededRandom random(3);
    const auto signer = Ed25519PrivateKey::generate(random);
    Signed out;
    out.key = {"test.ostal/audit", signer.public_key()};
    out.checkpoint = {"test.ostal/audit", 600, sha256(as_bytes("root"))};
    out.text =
        checkpoint_text(out.checkpoint, out.key, signer.sign(as_bytes(checkpoint_body(out.checkpoint))));
    return out;
}

// The published key of Go's checksum database, which has this form.
TEST(Note, AKnownVerifierKeyIsUnderstood) {
    const std::string text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    const auto key = parse_verifier_key(text);
    ASSERT_TRUE(key);
    EXPECT_EQ(key->name, "sum.golang.org");
    EXPECT_EQ(verifier_key_text(*key), text);
}

TEST(Note, VerifierKeyReadsBackAndEveryChangeIsRefused) {
    const Signed note = sample();
    const std::string text = verifier_key_text(note.key);
    EXPECT_EQ(parse_verifier_key(text).value(), note.key);
    EXPECT_EQ(parse_verifier_key(text + "\n").value(), note.key);
    for (std::size_t i = 0; i < text.size(); ++i) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string changed = text;
            changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
            EXPECT_FALSE(parse_verifier_key(changed)) << changed;
        }
    }
    EXPECT_FALSE(parse_verifier_key(text + "\n\n"));
    EXPECT_FALSE(parse_verifier_key(""));
    EXPECT_FALSE(is_key_name("a b"));
    EXPECT_FALSE(is_key_name("a+b"));
    EXPECT_FALSE(is_key_name(""));
}

TEST(Note, CheckpointHasTheThreeLinesAndOneSignature) {
    const Signed note = sample();
    EXPECT_TRUE(note.text.starts_with("test.ostal/audit\n600\n" + to_base64(note.checkpoint.root) +
                                      "\n\n\xE2\x80\x94 test.ostal/audit "));
    const auto opened = open_checkpoint(note.text, note.key);
    ASSERT_TRUE(opened) << opened.error().to_string();
    EXPECT_EQ(opened->size, 600U);
    EXPECT_EQ(opened->root, note.checkpoint.root);
}

TEST(Note, EveryChangedByteAndEveryCutIsRefused) {
    const Signed note = sample();
    for (std::size_t i = 0; i < note.text.size(); ++i) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string changed = note.text;
            changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
            EXPECT_FALSE(open_checkpoint(changed, note.key)) << i << " " << bit;
        }
        EXPECT_FALSE(open_checkpoint(note.text.substr(0, i), note.key)) << i;
    }
}

TEST(Note, SignaturesOfWitnessesAreSkippedAndOthersSpoilIt) {
    const Signed note = sample();
    const std::string witness = "\xE2\x80\x94 witness.example " + to_base64(Bytes(76, 5)) + "\n";
    EXPECT_TRUE(open_checkpoint(note.text + witness, note.key));
    EXPECT_FALSE(open_checkpoint(note.text + "junk\n", note.key));
    EXPECT_FALSE(open_checkpoint(note.text + witness.substr(0, witness.size() - 1), note.key));
    const std::size_t line = note.text.find("\n\n") + 2;
    EXPECT_FALSE(open_checkpoint(note.text + note.text.substr(line), note.key));
    EXPECT_FALSE(open_checkpoint(note.text.substr(0, line) + witness, note.key));
    VerifierKey other = note.key;
    other.public_key[0] ^= 1;
    EXPECT_FALSE(open_checkpoint(note.text, other));
}

TEST(Note, AnotherLogsCheckpointIsRefused) {
    SeededRandom random(4);
    const auto signer = Ed25519PrivateKey::generate(random);
    const VerifierKey key{"test.ostal/audit", signer.public_key()};
    const Checkpoint other{"other.ostal/audit", 1, {}};
    const std::string text = checkpoint_text(other, key, signer.sign(as_bytes(checkpoint_body(other))));
    EXPECT_EQ(open_checkpoint(text, key).error().code(), Code::kIntegrity);
}

}  // namespace
}  // namespace ostal::security
