// The program itself: what it prints and how it exits.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>

#include "base/json.h"
#include "security/audit/test_support.h"
#include "security/crypto/x25519.h"

namespace ostal::security {
namespace {

using audit_test::KeyBox;
using audit_test::TempFolder;

struct Ran {
    int status = -1;
    std::string out;
};
// Words without characters that a shell reads.
Ran run(const std::string& words) {
    Ran ran;
    FILE* pipe = ::popen((std::string(OSTAL_BIN_DIR "/ostal-audit ") + words + " 2>&1").c_str(), "r");
    char buffer[4096];
    std::size_t got = 0;
    while ((got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0) ran.out.append(buffer, got);
    ran.status = WEXITSTATUS(::pclose(pipe));
    return ran;
}

class AuditToolTest : public testing::Test {
protected:
    void SetUp() override { audit_test::make_log(folder_.path(), 300, box_); }
    TempFolder folder_;
    TempFolder other_;
    KeyBox box_;
};

TEST_F(AuditToolTest, VerifySaysYesAndNoByItsExitStatus) {
    audit_test::write_all(other_ / "mac.key", as_bytes(to_hex(box_.first_mac_key) + "\n"));
    Ran ran = run("verify " + folder_.path() + " --mac-key " + other_ / "mac.key");
    EXPECT_EQ(ran.status, 0) << ran.out;
    EXPECT_TRUE(ran.out.starts_with("OK\n")) << ran.out;
    EXPECT_NE(ran.out.find("not who wrote it"), std::string::npos);
    EXPECT_NE(ran.out.find("--against"), std::string::npos);
    ran = run("verify -o json " + folder_.path() + " --key " + folder_ / "log.vkey" + " --against " +
              folder_ / "checkpoint");
    EXPECT_EQ(ran.status, 0) << ran.out;
    const json::Value verdict = json::parse(ran.out).value();
    EXPECT_TRUE(verdict.find("ok")->as_bool());
    EXPECT_TRUE(verdict.find("authorship")->as_bool());
    EXPECT_EQ(verdict.find("records")->to_int64().value(), 300);

    Bytes bundle = audit_test::read_all(folder_ / "tile/entries/000");
    bundle[3] ^= 1;
    audit_test::write_all(folder_ / "tile/entries/000", bundle);
    ran = run("verify -o json " + folder_.path());
    EXPECT_EQ(ran.status, 1);
    EXPECT_EQ(json::parse(ran.out)->find("first_bad")->to_int64().value(), 0);
    ran = run("verify " + folder_.path());
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.out.find("first bad    0"), std::string::npos) << ran.out;
}

TEST_F(AuditToolTest, ShowAndTailPrintRecordsAsLines) {
    Ran ran = run("show " + folder_.path());
    EXPECT_EQ(ran.status, 0);
    EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 300);
    ran = run("show " + folder_.path() + " --from 254 --count 4");
    EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 4);
    EXPECT_EQ(parse_record(ran.out.substr(0, ran.out.find('\n')))->seq, 254U);
    ran = run("tail " + folder_.path() + " -n 1");
    EXPECT_EQ(parse_record(ran.out.substr(0, ran.out.find('\n')))->seq, 299U);
    // What was forged into the file does not reach the terminal as it is.
    Bytes bundle = audit_test::read_all(folder_ / "wal/001");
    bundle[10] = 0x1b;
    audit_test::write_all(folder_ / "wal/001", bundle);
    ran = run("show " + folder_.path() + " --from 256 --count 1");
    EXPECT_EQ(ran.out.find('\x1b'), std::string::npos);
    EXPECT_TRUE(ran.out.starts_with("{\"malformed\":"));
}

TEST_F(AuditToolTest, TheSealedKeyOpensForItsAuditor) {
    SeededRandom random(4);
    const auto pair = X25519KeyPair::generate(random);
    audit_test::write_all(other_ / "secret", as_bytes(to_hex(pair.private_key.bytes()) + "\n"));
    audit_test::write_all(other_ / "box",
                          as_bytes(to_base64(seal_to(pair.public_key, box_.first_mac_key).value())));
    Ran ran = run("open-key " + other_ / "box" + " --secret " + other_ / "secret");
    EXPECT_EQ(ran.status, 0) << ran.out;
    EXPECT_EQ(ran.out, to_hex(box_.first_mac_key) + "\n");
    const auto wrong = X25519KeyPair::generate(random);
    audit_test::write_all(other_ / "secret", as_bytes(to_hex(wrong.private_key.bytes())));
    EXPECT_EQ(run("open-key " + other_ / "box" + " --secret " + other_ / "secret").status, 1);
}

TEST_F(AuditToolTest, WrongUsageIsTwo) {
    for (const char* words : {"", "frob", "verify", "verify a b", "verify --key", "verify --colour red x",
                              "show x --from y", "verify x -o xml", "open-key box"}) {
        EXPECT_EQ(run(words).status, 2) << words;
    }
    EXPECT_EQ(run("--help").status, 0);
    EXPECT_EQ(run("verify " + folder_ / "nowhere").status, 1);
    EXPECT_EQ(run("verify " + folder_.path() + " --key " + folder_ / "nowhere").status, 1);
}

}  // namespace
}  // namespace ostal::security
