#include "security/audit/record.h"

#include <gtest/gtest.h>

#include "security/audit/test_support.h"

namespace ostal::security {
namespace {

StoredRecord sample() {
    StoredRecord stored;
    stored.record = audit_test::sample_record(7);
    stored.seq = 7;
    stored.time_us = 1'750'000'000'000'001;
    stored.boottime_us = 42;
    stored.approvals = 2;
    stored.prev.fill(0xAB);
    return stored;
}

TEST(AuditRecordText, IsCanonicalAndComplete) {
    EXPECT_EQ(
        encode_record(sample()),
        R"({"action":"model:list","actor":"usr_aaaa","approvals":2,"auth":"password","boottime":42,)"
        R"("decision":"allow","detail":"","id":"req_7","ip":"127.0.0.1","model":"","model_digest":"",)"
        R"("object":"","pair":"request","policy_version":1,)"
        R"("prev":"abababababababababababababababababababababababababababababababab","role":"owner","seq":7,)"
        R"("status":200,"t":"2025-06-15T15:06:40.000001Z","tenant":"","tokens_in":7,"tokens_out":0,"v":1})");
}

TEST(AuditRecordText, ReadsBack) {
    const std::string text = encode_record(sample());
    const auto parsed = parse_record(text);
    ASSERT_TRUE(parsed) << parsed.error().to_string();
    EXPECT_EQ(parsed->seq, 7U);
    EXPECT_EQ(parsed->record.pair, AuditPair::kRequest);
    EXPECT_EQ(parsed->prev, sample().prev);
    EXPECT_EQ(encode_record(*parsed), text);
}

TEST(AuditRecordText, EveryChangedByteIsAnotherRecordOrNone) {
    const std::string text = encode_record(sample());
    for (std::size_t i = 0; i < text.size(); ++i) {
        for (const int change : {1, 0x20, 0x80}) {
            std::string changed = text;
            changed[i] = static_cast<char>(changed[i] ^ change);
            const auto parsed = parse_record(changed);
            if (parsed) {
                EXPECT_EQ(encode_record(*parsed), changed) << i;
            }
        }
        EXPECT_FALSE(parse_record(text.substr(0, i))) << i;
    }
    EXPECT_FALSE(parse_record(text + " "));
    EXPECT_FALSE(parse_record(" " + text));
}

TEST(AuditRecordText, RefusesWhatEncodeDoesNotWrite) {
    const auto replaced = [](const std::string& from, const std::string& to) {
        std::string text = encode_record(sample());
        text.replace(text.find(from), from.size(), to);
        return text;
    };
    EXPECT_TRUE(parse_record(replaced("\"v\":1", "\"v\":1")));
    EXPECT_FALSE(parse_record(replaced("\"v\":1", "\"v\":2")));
    EXPECT_FALSE(parse_record(replaced("\"v\":1", "\"v\":1,\"x\":1")));
    EXPECT_FALSE(parse_record(replaced("\"seq\":7", "\"seq\":7.0")));
    EXPECT_FALSE(parse_record(replaced("\"seq\":7", "\"seq\":-7")));
    EXPECT_FALSE(parse_record(replaced("\"seq\":7", "\"seq\":9007199254740992")));
    EXPECT_FALSE(parse_record(replaced("\"seq\":7", "\"seq\":\"7\"")));
    EXPECT_FALSE(parse_record(replaced("abab", "ABAB")));
    EXPECT_FALSE(parse_record(replaced("\"request\"", "\"other\"")));
    EXPECT_FALSE(parse_record(replaced("\"detail\":\"\"", "\"detail\":\"\\n\"")));
    EXPECT_FALSE(parse_record(replaced("\"detail\":\"\"", "\"detail\":\"\xE2\x80\xAE\"")));
    EXPECT_FALSE(parse_record(replaced("\"detail\":\"\"", "\"detail\":\"" + std::string(4000, 'x') + "\"")));
}

TEST(AuditRecordText, TheWorstRecordIsBoundedOneLineAndReadsBack) {
    for (const std::string& filler :
         {std::string("\""), std::string("\\"), std::string("\n"), std::string("\xFF"),
          std::string("\xE2\x80\xAE"), std::string("\xF0\x9F\x98\x80")}) {
        std::string value;
        while (value.size() < 65'536) value += filler;
        StoredRecord stored = sample();
        AuditRecord& record = stored.record;
        for (std::string* field : {&record.id, &record.actor, &record.auth, &record.ip, &record.role,
                                   &record.tenant, &record.action, &record.object, &record.decision,
                                   &record.model, &record.model_digest, &record.detail}) {
            *field = value;
        }
        record.tokens_in = UINT64_MAX;
        record.tokens_out = UINT64_MAX;
        record.policy_version = UINT32_MAX;
        record.status = -1;
        stored.seq = (1ULL << 53) - 1;
        record = bounded(std::move(record));
        const std::string text = encode_record(stored);
        EXPECT_LE(text.size(), 8192U);
        for (const char c : text) EXPECT_FALSE(static_cast<unsigned char>(c) < 0x20 || c == 0x7F);
        ASSERT_TRUE(parse_record(text)) << parse_record(text).error().to_string();
    }
}

}  // namespace
}  // namespace ostal::security
