#include "security/identity/tokens.h"

#include <map>
#include <set>

#include "security/identity/test_support.h"

namespace ostal::security {
namespace {

constexpr std::int64_t kDayUs = 24LL * 3600 * 1'000'000;

// Written a second time, for texts that make_api_key does not make.
std::string checksum_of(std::string_view text) {
    constexpr std::string_view kBase62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    std::uint32_t crc = 0xFFFFFFFFU;
    for (const char c : text) {
        crc ^= static_cast<std::uint8_t>(c);
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
    }
    crc = ~crc;
    std::string digits(6, '0');
    for (std::size_t i = 6; i-- > 0; crc /= 62) digits[i] = kBase62[crc % 62];
    return digits;
}

TEST(ApiKeyText, HasItsPartsAtTheirPlaces) {
    SeededRandom random(5);
    for (int i = 0; i < 100; ++i) {
        const std::string text = make_api_key(KeyEnvironment::kLive, random);
        ASSERT_EQ(text.size(), kApiKeyLength);
        const auto parsed = parse_api_key(text);
        ASSERT_TRUE(parsed);
        EXPECT_EQ(parsed->environment, KeyEnvironment::kLive);
        EXPECT_EQ(parsed->lookup, text.substr(9, 10));
        EXPECT_EQ(parsed->secret, text.substr(19, 43));
    }
    EXPECT_TRUE(make_api_key(KeyEnvironment::kTest, random).starts_with("ost_test_"));
}

// The checksum is zlib.crc32 of the 62 characters before, in base62 with 0-9A-Za-z, as Python computes it.
TEST(ApiKeyText, AKnownKeyIsUnderstood) {
    const std::string body = "ost_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq";
    ASSERT_EQ(body.size(), 62U);
    EXPECT_TRUE(parse_api_key(body + "33uyYS"));
    const std::string small =
        "ost_test_00000000000000000000000000000000000000000000000000101"
        "00yebz";
    EXPECT_TRUE(parse_api_key(small)) << small;  // a checksum with leading zeros
}

TEST(ApiKeyText, EveryChangedCharacterAndLengthIsRefused) {
    SeededRandom random(6);
    const std::string text = make_api_key(KeyEnvironment::kLive, random);
    for (std::size_t i = 0; i < text.size(); ++i) {
        for (const char c : std::string("0Az_-+/ \n\x80")) {
            std::string changed = text;
            if (changed[i] == c) continue;
            changed[i] = c;
            const auto parsed = parse_api_key(changed);
            ASSERT_FALSE(parsed) << changed;
            EXPECT_EQ(parsed.error().code(), Code::kUnauthenticated);
        }
        EXPECT_FALSE(parse_api_key(text.substr(0, i)));
    }
    EXPECT_FALSE(parse_api_key(text + "0"));
    EXPECT_FALSE(parse_api_key(" " + text));
}

TEST(ApiKeyText, CharactersAreUniform) {
    SeededRandom random(7);
    std::map<char, int> count;
    constexpr int kKeys = 4000;
    for (int i = 0; i < kKeys; ++i) {
        const std::string text = make_api_key(KeyEnvironment::kLive, random);
        for (const char c : text.substr(9, 53)) ++count[c];
    }
    ASSERT_EQ(count.size(), 62U);
    const double expected = kKeys * 53.0 / 62.0;
    double chi_squared = 0;
    for (const auto& [c, n] : count) chi_squared += (n - expected) * (n - expected) / expected;
    EXPECT_LT(chi_squared, 110.0);  // 61 degrees of freedom, p about 0.0001
}

class ApiKeysTest : public IdentityTest {
protected:
    void SetUp() override {
        IdentityTest::SetUp();
        made_ = set_up(true);
    }
    NewApiKey request() {
        NewApiKey request;
        request.tenant = made_.tenant.id;
        request.project = made_.project.id;
        request.created_by = made_.users[0].id;
        request.name = "ci";
        return request;
    }
    void expect_refused(const std::string& text) {
        const auto result = keys().authenticate(text);
        ASSERT_FALSE(result) << text;
        EXPECT_EQ(result.error().code(), Code::kUnauthenticated);
        EXPECT_EQ(result.error().to_string(), "the API key is not valid");
    }
    SetupResult made_;
};

TEST_F(ApiKeysTest, AKeyOpensItsProject) {
    NewApiKey wanted = request();
    wanted.scopes = {Permission::kInferenceChat};
    wanted.models = {"ostal-mini"};
    const CreatedApiKey created = keys().create(wanted).value();
    const ApiKey key = keys().authenticate(created.text).value();
    EXPECT_EQ(key.id, created.key.id);
    EXPECT_EQ(key.project, made_.project.id);
    EXPECT_EQ(key.name, "ci");
    const Subject subject = ApiKeys::subject(key);
    Object object;
    object.kind = Object::Kind::kModelGrant;
    object.tenant = made_.tenant.id;
    object.project = made_.project.id;
    object.model = "ostal-mini";
    object.granted = true;
    EXPECT_TRUE(may(subject, Permission::kInferenceChat, object).allow);
    EXPECT_FALSE(may(subject, Permission::kInferenceEmbed, object).allow);
    EXPECT_FALSE(may(subject, Permission::kKeyCreate, object).allow);
    EXPECT_EQ(keys().list(made_.tenant.id, made_.project.id)->size(), 1U);
    EXPECT_TRUE(check_identity(*database_, mac_));
}

TEST_F(ApiKeysTest, TheSecretIsNowhereInTheFile) {
    const CreatedApiKey created = keys().create(request()).value();
    ASSERT_TRUE(keys().authenticate(created.text));
    ASSERT_TRUE(database_->truncate_wal());
    const Bytes file = read_file(files_, path(), 1 << 24).value();
    EXPECT_NE(as_text(file).find(created.key.lookup), std::string_view::npos);
    EXPECT_EQ(as_text(file).find(created.text.substr(19, 43)), std::string_view::npos);
}

TEST_F(ApiKeysTest, WrongRevokedExpiredAndMalformedAreOneAnswer) {
    const CreatedApiKey created = keys().create(request()).value();
    const CreatedApiKey other = keys().create(request()).value();
    expect_refused("");
    expect_refused("ost_live_");
    expect_refused(created.text.substr(1));
    SeededRandom random(8);
    expect_refused(make_api_key(KeyEnvironment::kLive, random));  // well formed, unknown

    NewApiKey short_lived = request();
    short_lived.expires_us = clock_.wall_now_us() + kDayUs;
    const CreatedApiKey expiring = keys().create(short_lived).value();
    clock_.advance_us(kDayUs - 1);
    EXPECT_TRUE(keys().authenticate(expiring.text));
    clock_.advance_us(1);
    expect_refused(expiring.text);

    ASSERT_TRUE(keys().revoke(made_.tenant.id, created.key.id));
    expect_refused(created.text);
    ASSERT_TRUE(keys().revoke(made_.tenant.id, created.key.id));  // idempotent
    EXPECT_TRUE(keys().authenticate(other.text));

    ASSERT_TRUE(tenants().set_project_disabled(made_.tenant.id, made_.project.id, true));
    expect_refused(other.text);
}

// A key whose parts are of two keys of the same store: the lookup finds one, the secret is of the other.
TEST_F(ApiKeysTest, PartsOfTwoKeysAreNoKey) {
    const std::string a = keys().create(request())->text;
    const std::string b = keys().create(request())->text;
    std::string mixed = a.substr(0, 19) + b.substr(19, 43);
    mixed += checksum_of(mixed);
    ASSERT_TRUE(parse_api_key(mixed));
    expect_refused(mixed);
}

TEST_F(ApiKeysTest, RequestsAreChecked) {
    NewApiKey bad = request();
    bad.scopes = {Permission::kConfigWrite};
    EXPECT_EQ(keys().create(bad).error().code(), Code::kUnprocessable);
    bad = request();
    bad.models = {"../etc"};
    EXPECT_EQ(keys().create(bad).error().code(), Code::kUnprocessable);
    bad = request();
    bad.name = "a\nb";
    EXPECT_EQ(keys().create(bad).error().code(), Code::kUnprocessable);
    bad = request();
    bad.expires_us = clock_.wall_now_us();
    EXPECT_EQ(keys().create(bad).error().code(), Code::kUnprocessable);
    bad.expires_us = clock_.wall_now_us() + 400 * kDayUs;
    EXPECT_EQ(keys().create(bad).error().code(), Code::kUnprocessable);
    bad = request();
    bad.tenant = tenants().create_tenant("other")->id;
    EXPECT_EQ(keys().create(bad).error().code(), Code::kNotFound);
    EXPECT_TRUE(keys().list(made_.tenant.id, made_.project.id)->empty());
}

TEST_F(ApiKeysTest, AnotherTenantsKeyIsNotFound) {
    const CreatedApiKey created = keys().create(request()).value();
    const Tenant other = tenants().create_tenant("other").value();
    EXPECT_EQ(keys().find(other.id, created.key.id).error().code(), Code::kNotFound);
    EXPECT_EQ(keys().revoke(other.id, created.key.id).error().code(), Code::kNotFound);
    EXPECT_TRUE(keys().authenticate(created.text));
}

TEST_F(ApiKeysTest, TheTimeOfUseIsKeptToTheMinute) {
    const CreatedApiKey created = keys().create(request()).value();
    const auto last_used = [&] { return keys().find(made_.tenant.id, created.key.id)->last_used_us; };
    EXPECT_EQ(last_used(), 0);
    ASSERT_TRUE(keys().authenticate(created.text));
    const std::int64_t first = clock_.wall_now_us();
    EXPECT_EQ(last_used(), first);
    clock_.advance_us(59'999'999);
    ASSERT_TRUE(keys().authenticate(created.text));
    EXPECT_EQ(last_used(), first);
    clock_.advance_us(1);
    ASSERT_TRUE(keys().authenticate(created.text));
    EXPECT_EQ(last_used(), clock_.wall_now_us());
    EXPECT_TRUE(check_identity(*database_, mac_));
}

TEST_F(ApiKeysTest, EditsOfTheFileOpenNothing) {
    NewApiKey wanted = request();
    wanted.models = {"ostal-mini"};
    wanted.expires_us = clock_.wall_now_us() + kDayUs;
    const CreatedApiKey created = keys().create(wanted).value();
    ASSERT_TRUE(keys().revoke(made_.tenant.id, created.key.id));
    tamper("UPDATE api_keys SET revoked_us = 0");
    EXPECT_EQ(keys().authenticate(created.text).error().code(), Code::kIntegrity);
    for (const char* edit :
         {"UPDATE api_keys SET models = ''", "UPDATE api_keys SET scopes = 'inference:embed'",
          "UPDATE api_keys SET expires_us = expires_us + 1", "UPDATE api_keys SET environment = 'test'",
          "UPDATE api_keys SET secret_mac = randomblob(32)"}) {
        tamper(edit);
        EXPECT_EQ(keys().find(made_.tenant.id, created.key.id).error().code(), Code::kIntegrity) << edit;
    }
}

TEST_F(ApiKeysTest, GrantsComeAndGo) {
    Tenants store = tenants();
    EXPECT_FALSE(store.is_granted(made_.tenant.id, made_.project.id, "ostal-mini").value());
    ASSERT_TRUE(store.grant_model(made_.tenant.id, made_.project.id, "ostal-mini"));
    ASSERT_TRUE(store.grant_model(made_.tenant.id, made_.project.id, "ostal-mini"));
    EXPECT_TRUE(store.is_granted(made_.tenant.id, made_.project.id, "ostal-mini").value());
    EXPECT_EQ(store.list_grants(made_.tenant.id, made_.project.id)->size(), 1U);
    EXPECT_FALSE(store.is_granted(kNoId, made_.project.id, "ostal-mini").value());
    EXPECT_FALSE(store.grant_model(made_.tenant.id, made_.project.id, "A/B"));
    ASSERT_TRUE(store.withdraw_model(made_.tenant.id, made_.project.id, "ostal-mini"));
    EXPECT_FALSE(store.is_granted(made_.tenant.id, made_.project.id, "ostal-mini").value());
    ASSERT_TRUE(store.grant_model(made_.tenant.id, made_.project.id, "ostal-mini"));
    EXPECT_TRUE(store.is_granted(made_.tenant.id, made_.project.id, "ostal-mini").value());
    EXPECT_EQ(store.set_tenant_disabled(made_.tenant.id, true).error().code(), Code::kConflict);
    EXPECT_EQ(store.create_project(made_.tenant.id, "DEFAULT").error().code(), Code::kConflict);
    const Project second = store.create_project(made_.tenant.id, "second").value();
    EXPECT_EQ(store.project_by_name(made_.tenant.id, "Second")->id, second.id);
    EXPECT_EQ(store.list_projects(made_.tenant.id)->size(), 2U);
    EXPECT_TRUE(check_identity(*database_, mac_));
}

}  // namespace
}  // namespace ostal::security
