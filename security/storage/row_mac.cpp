#include "security/storage/row_mac.h"

namespace ostal::security {
namespace {

// Length before content everywhere, so that no two lists of values give the same bytes.
void add_number(HmacSha256& mac, std::uint64_t number) {
    std::array<std::uint8_t, 8> bytes;
    store_le<std::uint64_t>(bytes.data(), number);
    mac.update(bytes);
}
void add_bytes(HmacSha256& mac, ByteSpan bytes) {
    add_number(mac, bytes.size());
    mac.update(bytes);
}

struct AddValue {
    HmacSha256& mac;
    void operator()(std::monostate) const { add_number(mac, 0); }
    void operator()(std::int64_t number) const {
        add_number(mac, 1);
        add_number(mac, static_cast<std::uint64_t>(number));
    }
    void operator()(const std::string& text) const {
        add_number(mac, 2);
        add_bytes(mac, as_bytes(text));
    }
    void operator()(const Bytes& bytes) const {
        add_number(mac, 3);
        add_bytes(mac, bytes);
    }
};

Status altered(std::string_view table) {
    return fail(Code::kIntegrity, "the table " + std::string(table) + " was altered outside of this program");
}

}  // namespace

Digest32 RowMac::of_row(std::string_view table, std::span<const Parameter> columns) const {
    HmacSha256 mac(key_.bytes());
    add_bytes(mac, as_bytes("ostal/row/1"));
    add_bytes(mac, as_bytes(table));
    add_number(mac, columns.size());
    for (const Parameter& column : columns) std::visit(AddValue{mac}, column.value());
    return mac.finish();
}

Status RowMac::check_row(std::string_view table, std::span<const Parameter> columns, ByteSpan mac) const {
    if (!constant_time_equal(of_row(table, columns), mac)) return altered(table);
    return {};
}

Digest32 RowMac::of_table(std::string_view table, std::span<const Digest32> row_macs) const {
    HmacSha256 mac(key_.bytes());
    add_bytes(mac, as_bytes("ostal/table/1"));
    add_bytes(mac, as_bytes(table));
    add_number(mac, row_macs.size());
    for (const Digest32& row : row_macs) mac.update(row);
    return mac.finish();
}

Status RowMac::check_table(std::string_view table, std::span<const Digest32> row_macs, ByteSpan mac) const {
    if (!constant_time_equal(of_table(table, row_macs), mac)) return altered(table);
    return {};
}

}  // namespace ostal::security
