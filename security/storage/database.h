// SQLite databases: hardened sessions, transactions with bound parameters,
// numbered migrations.
//
//   OSTAL_TRY(Transaction tx, db.begin_write());
//   OSTAL_TRYV(tx.execute("INSERT INTO users(id, name) VALUES (?, ?)", {id,
//   name})); OSTAL_TRY(const auto rows, tx.query<Id, std::string>("SELECT id,
//   name FROM users WHERE tenant = ?", {tenant})); OSTAL_TRYV(tx.commit());
//
// Sessions are Poco::Data's; statements use SQLite's own interface through the session's handle, since Poco
// binds an empty BLOB as NULL, cuts text at a NUL and reads a column of a wrong type as 0.
//
// Errors: kConflict for a violated constraint, kNoSpace for a full disk,
// kIntegrity for a damaged file or a column of another type than asked for,
// kUnavailable when another process holds the lock, kIo, kInternal.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/result.h"

namespace ostal::security {

// A bound parameter: NULL, INTEGER, TEXT or BLOB.
class Parameter {
public:
    using Value = std::variant<std::monostate, std::int64_t, std::string, Bytes>;
    Parameter(std::nullptr_t) {}
    Parameter(std::int64_t value) : value_(value) {}
    Parameter(int value) : value_(static_cast<std::int64_t>(value)) {}
    Parameter(bool value) : value_(static_cast<std::int64_t>(value)) {}
    Parameter(std::string value) : value_(std::move(value)) {}
    Parameter(std::string_view value) : value_(std::string(value)) {}
    Parameter(const char* value) : value_(std::string(value)) {}
    Parameter(Bytes value) : value_(std::move(value)) {}
    Parameter(ByteSpan value) : value_(Bytes(value.begin(), value.end())) {}
    template <std::size_t N>
    Parameter(const std::array<std::uint8_t, N>& value) : value_(Bytes(value.begin(), value.end())) {}
    template <typename T>
    Parameter(const std::optional<T>& value) {
        if (value) value_ = Parameter(*value).value_;
    }
    const Value& value() const { return value_; }

private:
    Value value_;
};
using Parameters = std::vector<Parameter>;

namespace detail {
struct DatabaseState;
struct DatabaseSession;
struct ColumnType {
    enum Kind { kInteger, kText, kBlob } kind;
};
using Cell = Parameter::Value;
using Cells = std::vector<Cell>;

// How a C++ type is read from a column; arrays are BLOBs of exactly that
// length, optionals may be NULL.
template <typename T>
struct Column;
template <>
struct Column<std::int64_t> {
    static constexpr ColumnType kType{ColumnType::kInteger};
    static bool take(Cell& cell, std::int64_t& out);
};
template <>
struct Column<std::string> {
    static constexpr ColumnType kType{ColumnType::kText};
    static bool take(Cell& cell, std::string& out);
};
template <>
struct Column<Bytes> {
    static constexpr ColumnType kType{ColumnType::kBlob};
    static bool take(Cell& cell, Bytes& out);
};
template <std::size_t N>
struct Column<std::array<std::uint8_t, N>> {
    static constexpr ColumnType kType{ColumnType::kBlob};
    static bool take(Cell& cell, std::array<std::uint8_t, N>& out) {
        const auto* bytes = std::get_if<Bytes>(&cell);
        if (bytes == nullptr || bytes->size() != N) return false;
        std::copy(bytes->begin(), bytes->end(), out.begin());
        return true;
    }
};
template <typename T>
struct Column<std::optional<T>> {
    static constexpr ColumnType kType = Column<T>::kType;
    static bool take(Cell& cell, std::optional<T>& out) {
        if (std::holds_alternative<std::monostate>(cell)) return true;
        return Column<T>::take(cell, out.emplace());
    }
};
}  // namespace detail

// One transaction. Dropped without commit() it is rolled back. It belongs to
// the thread that began it, which must not begin another on the same database
// before this one ends (CHECKed for writes).
class Transaction {
public:
    ~Transaction();
    Transaction(Transaction&&) noexcept;
    Transaction& operator=(Transaction&&) = delete;

    // One statement with `?` placeholders. The number of rows it changed.
    Result<std::int64_t> execute(std::string_view sql, const Parameters& parameters = {});
    // All rows. T: std::int64_t, std::string, Bytes, std::array<uint8_t, N>,
    // std::optional of these.
    template <typename... T>
    Result<std::vector<std::tuple<T...>>> query(std::string_view sql, const Parameters& parameters = {});
    // The only row, or nothing. kIntegrity when there are more.
    template <typename... T>
    Result<std::optional<std::tuple<T...>>> query_one(std::string_view sql,
                                                      const Parameters& parameters = {});
    // Durable when it returns success. Nothing may follow.
    Status commit();

private:
    friend class Database;
    Transaction(detail::DatabaseState& database, detail::DatabaseSession* session, bool writes);
    Result<std::vector<detail::Cells>> run_query(std::string_view sql, const Parameters& parameters,
                                                 std::span<const detail::ColumnType> types);
    void end();
    detail::DatabaseState* database_;  // null after commit, rollback and move
    detail::DatabaseSession* session_;
    bool writes_;
};

struct Migration {
    int version;           // 1, 2, 3 ... without gaps
    int min_reader;        // oldest program schema version that may still use a database
                           // of this version
    std::string_view sql;  // statements, each ended by ';'
};

// Thread-safe: one writer at a time (others wait for it), readers beside it on
// their own sessions (WAL).
class Database {
public:
    struct Options {
        std::string path;
        std::span<const Migration> migrations;
        // Where a copy of the file goes before it is migrated:
        // <folder>/<name>.before-<version>; empty: none.
        std::string snapshot_folder;
        int busy_timeout_ms = 5000;
    };
    // Opens or creates (0600) and migrates. kUnsupported when the file's schema
    // needs a newer program; kIntegrity when the file is damaged. The state
    // folder's lock (state_lock.h) is held by the caller.
    static Result<std::unique_ptr<Database>> open(Files& files, const Clock& clock, const Options& options);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    Result<Transaction> begin_write();
    Result<Transaction> begin_read();
    int schema_version() const;
    // Moves the write-ahead log into the file and empties it, so that deleted
    // content (overwritten in the file by secure_delete) is in neither.
    // kUnavailable when readers kept it busy for the whole timeout.
    Status truncate_wal();
    // A consistent copy by SQLite's backup interface; the target must not exist.
    Status copy_to(const std::string& path);

private:
    explicit Database(std::unique_ptr<detail::DatabaseState> state);
    std::unique_ptr<detail::DatabaseState> state_;
};

template <typename... T>
Result<std::vector<std::tuple<T...>>> Transaction::query(std::string_view sql, const Parameters& parameters) {
    static constexpr std::array<detail::ColumnType, sizeof...(T)> kTypes{detail::Column<T>::kType...};
    OSTAL_TRY(auto cells, run_query(sql, parameters, kTypes));
    std::vector<std::tuple<T...>> rows;
    rows.reserve(cells.size());
    for (auto& row : cells) {
        std::tuple<T...> typed;
        const bool good = [&]<std::size_t... I>(std::index_sequence<I...>) {
            return (detail::Column<T>::take(row[I], std::get<I>(typed)) && ...);
        }
        (std::index_sequence_for<T...>{});
        if (!good)
            return fail(Code::kIntegrity, "a database column has another type or length than its table says");
        rows.push_back(std::move(typed));
    }
    return rows;
}

template <typename... T>
Result<std::optional<std::tuple<T...>>> Transaction::query_one(std::string_view sql,
                                                               const Parameters& parameters) {
    OSTAL_TRY(auto rows, query<T...>(sql, parameters));
    if (rows.size() > 1)
        return fail(Code::kIntegrity, "a database query found several rows where one is allowed");
    if (rows.empty()) return std::optional<std::tuple<T...>>();
    return std::optional<std::tuple<T...>>(std::move(rows.front()));
}

}  // namespace ostal::security
