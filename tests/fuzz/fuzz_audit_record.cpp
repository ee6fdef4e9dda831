// What an audit folder may hold: records, frames, notes and keys. What is accepted is exactly what we write.
#include "base/bytes.h"
#include "base/check.h"
#include "base/safe_text.h"
#include "security/audit/layout.h"
#include "security/audit/note.h"
#include "security/audit/record.h"

using namespace ostal;
using namespace ostal::security;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = as_text({data, size});
    if (const auto stored = parse_record(text)) {
        CHECK(encode_record(*stored) == text);
        CHECK(is_safe_text(text));
    }
    const Frames frames = split_frames({data, size});
    CHECK(frames.bytes <= size && frames.records.size() <= kTileWidth);
    for (const std::string_view record : frames.records) (void)parse_record(record);

    if (const auto key = parse_verifier_key(text)) {
        CHECK(verifier_key_text(*key) == text || verifier_key_text(*key) + "\n" == text);
    }
    const VerifierKey key{"fuzz.ostal/audit", {}};
    (void)open_checkpoint(text, key);

    const std::string safe = safe_text(text, 64);
    CHECK(safe.size() <= 64 && is_safe_text(safe));
    // A record made of anything is a record.
    StoredRecord stored;
    stored.record.object = text;
    stored.record.detail = text;
    stored.record = bounded(std::move(stored.record));
    CHECK(parse_record(encode_record(stored)).has_value());
    return 0;
}
