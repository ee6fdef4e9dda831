#include "security/secret.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <type_traits>

namespace ostal::security {
namespace {

static_assert(!std::is_copy_constructible_v<SecretBytes> && !std::is_copy_assignable_v<SecretBytes>);
static_assert(!std::is_copy_constructible_v<Secret<32>> && !std::is_copy_assignable_v<Secret<32>>);
static_assert(std::is_nothrow_move_constructible_v<SecretBytes> &&
              std::is_nothrow_move_constructible_v<Secret<32>>);
template <typename T>
concept Printable = requires(std::ostream& out, const T& value) {
    out << value;
};
static_assert(!Printable<SecretBytes> && !Printable<Secret<32>>);

TEST(Secret, MovesAndLeavesNothingBehind) {
    SeededRandom random(1);
    Secret<32> a = Secret<32>::from_random(random);
    const Secret<32> copy = a.clone();
    Secret<32> b = std::move(a);
    EXPECT_FALSE(a.has_value());  // NOLINT: the moved-from state is promised
    EXPECT_TRUE(b == copy);
    EXPECT_DEATH((void)a.view(), "moved from");
    b.reset();
    EXPECT_FALSE(b.has_value());
}

TEST(Secret, ComparesLengthAndContent) {
    EXPECT_TRUE(SecretBytes::copy_of(as_bytes("abc")) == SecretBytes::copy_of(as_bytes("abc")));
    EXPECT_FALSE(SecretBytes::copy_of(as_bytes("abc")) == SecretBytes::copy_of(as_bytes("abd")));
    EXPECT_FALSE(SecretBytes::copy_of(as_bytes("abc")) == SecretBytes::copy_of(as_bytes("ab")));
    EXPECT_TRUE(SecretBytes() == SecretBytes());
}

TEST(Secret, TakeWipesTheString) {
    std::string text = "a passphrase that is long enough to live on the heap";
    const char* const where = text.data();
    const std::size_t length = text.size();
    const SecretBytes secret = SecretBytes::take(text);
    EXPECT_EQ(secret.text(), "a passphrase that is long enough to live on the heap");
    EXPECT_TRUE(text.empty());
    // The string keeps its buffer after clear().
    for (std::size_t i = 0; i < length; ++i) EXPECT_EQ(where[i], 0);
}

TEST(Secret, StartsAsZeros) {
    const Secret<48> secret;
    for (const std::uint8_t byte : secret.bytes()) EXPECT_EQ(byte, 0);
}

TEST(Secret, WritingPastTheEndIsFatal) {
    EXPECT_DEATH(
        {
            SecretBytes secret(16);
            volatile std::uint8_t* past = secret.mutable_bytes().data() + 16;
            *past = 1;
        },
        "");
}

// A child with no right to lock memory: secrets work, and the check says what is missing.
TEST(Secret, WorksWithoutLockedMemory) {
#ifdef OSTAL_SANITIZED
    GTEST_SKIP() << "the sanitizers replace mlock";
#endif
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const rlimit none{0, 0};
        if (::setrlimit(RLIMIT_MEMLOCK, &none) != 0) ::_exit(10);
        // Root locks without limit; the capability goes with the uid.
        if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(11);
        const Status status = check_memory_locking();
        if (status || status.error().code() != Code::kResourceExhausted) ::_exit(12);
        SecretBytes secret = SecretBytes::copy_of(as_bytes("still works"));
        if (secret.text() != "still works") ::_exit(13);
        secret.reset();
        ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace ostal::security
