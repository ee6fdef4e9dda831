#include "security/storage/database.h"

#include <Poco/Data/SQLite/Connector.h>
#include <Poco/Data/SQLite/Utility.h>
#include <Poco/Data/Session.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/check.h"

namespace ostal::security {
namespace detail {

bool Column<std::int64_t>::take(Cell& cell, std::int64_t& out) {
    const auto* value = std::get_if<std::int64_t>(&cell);
    if (value != nullptr) out = *value;
    return value != nullptr;
}
bool Column<std::string>::take(Cell& cell, std::string& out) {
    auto* value = std::get_if<std::string>(&cell);
    if (value != nullptr) out = std::move(*value);
    return value != nullptr;
}
bool Column<Bytes>::take(Cell& cell, Bytes& out) {
    auto* value = std::get_if<Bytes>(&cell);
    if (value != nullptr) out = std::move(*value);
    return value != nullptr;
}

}  // namespace detail

namespace {

constexpr std::size_t kMaxCachedStatements = 200;
// Poco tries a failing open again for so long (60 by default).
constexpr std::size_t kOpenTimeoutSeconds = 1;

Code code_of(int sqlite_code) {
    switch (sqlite_code & 0xff) {
        case SQLITE_FULL: return Code::kNoSpace;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return Code::kIntegrity;
        case SQLITE_CONSTRAINT: return Code::kConflict;
        case SQLITE_BUSY:
        case SQLITE_LOCKED: return Code::kUnavailable;
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
        case SQLITE_READONLY:
        case SQLITE_PERM: return Code::kIo;
        default: return Code::kInternal;
    }
}

tl::unexpected<Error> sqlite_failure(sqlite3* handle, int sqlite_code) {
    return fail(code_of(sqlite_code), std::string("database: ") + sqlite3_errmsg(handle));
}

struct StatementEnd {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, StatementEnd>;

// Statements without parameters and results, any number of them.
Status run_script(sqlite3* handle, const std::string& sql) {
    const int code = sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return sqlite_failure(handle, code);
    return {};
}

}  // namespace

namespace detail {

// One connection; used by one thread at a time. Prepared statements are kept by their text.
struct DatabaseSession {
    explicit DatabaseSession(Poco::Data::Session opened)
        : poco(std::move(opened)), handle(Poco::Data::SQLite::Utility::dbHandle(poco)) {}
    ~DatabaseSession() { statements.clear(); }

    static Result<std::unique_ptr<DatabaseSession>> open(const std::string& path, int busy_timeout_ms,
                                                         bool read_only);
    Status harden(int busy_timeout_ms, bool read_only);
    Result<sqlite3_stmt*> prepare(std::string_view sql);

    Poco::Data::Session poco;
    sqlite3* handle;
    std::unordered_map<std::string, Statement> statements;
};

struct DatabaseState {
    DatabaseState(Database::Options with, Files& through) : options(std::move(with)), files(through) {}

    Database::Options options;
    Files& files;
    int version = 0;
    std::unique_ptr<DatabaseSession> writer;

    std::mutex mutex;  // guards what follows
    std::condition_variable writer_free;
    bool writing = false;
    std::thread::id writing_thread;
    std::vector<std::unique_ptr<DatabaseSession>> idle_readers;
    bool in_doubt = false;  // a failed transaction would be found by a start after a crash

    bool is_in_doubt() {
        const std::lock_guard lock(mutex);
        return in_doubt;
    }
    Status settle_doubt();
    void take_writer() {
        std::unique_lock lock(mutex);
        CHECK(!(writing && writing_thread == std::this_thread::get_id()));
        writer_free.wait(lock, [&] { return !writing; });
        writing = true;
        writing_thread = std::this_thread::get_id();
    }
    void release_writer() {
        {
            const std::lock_guard lock(mutex);
            writing = false;
            writing_thread = {};
        }
        writer_free.notify_one();
    }
    Status migrate(const Clock& clock);
    Status snapshot();
};

Result<std::unique_ptr<DatabaseSession>> DatabaseSession::open(const std::string& path, int busy_timeout_ms,
                                                               bool read_only) {
    static std::once_flag registered;
    std::call_once(registered, [] { Poco::Data::SQLite::Connector::registerConnector(); });
    try {
        auto session = std::make_unique<DatabaseSession>(
            Poco::Data::Session(Poco::Data::SQLite::Connector::KEY, path, kOpenTimeoutSeconds));
        OSTAL_TRYV(session->harden(busy_timeout_ms, read_only));
        return session;
    } catch (const Poco::Exception& exception) {
        return fail(Code::kIo, "cannot open the database " + path + ": " + exception.displayText());
    } catch (const std::exception& exception) {
        return fail(Code::kInternal, "cannot open the database " + path + ": " + exception.what());
    }
}

Status DatabaseSession::harden(int busy_timeout_ms, bool read_only) {
    sqlite3_extended_result_codes(handle, 1);
    sqlite3_busy_timeout(handle, busy_timeout_ms);
    struct Setting {
        int option;
        int value;
    };
    for (const Setting& setting :
         {Setting{SQLITE_DBCONFIG_DEFENSIVE, 1}, Setting{SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
          Setting{SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0}, Setting{SQLITE_DBCONFIG_DQS_DML, 0},
          Setting{SQLITE_DBCONFIG_DQS_DDL, 0}, Setting{SQLITE_DBCONFIG_ENABLE_FKEY, 1}}) {
        int now = -1;
        const int code = sqlite3_db_config(handle, setting.option, setting.value, &now);
        if (code != SQLITE_OK || now != setting.value) {
            return fail(Code::kInternal, "SQLite refused hardening option " + std::to_string(setting.option));
        }
    }
    sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
    if (auto status =
            run_script(handle,
                       "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; "
                       "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;");
        !status) {
        return status;
    }
    return read_only ? run_script(handle, "PRAGMA query_only = ON;") : Status();
}

Result<sqlite3_stmt*> DatabaseSession::prepare(std::string_view sql) {
    std::string text(sql);
    if (const auto found = statements.find(text); found != statements.end()) return found->second.get();
    sqlite3_stmt* raw = nullptr;
    const char* tail = nullptr;
    const int code = sqlite3_prepare_v3(handle, text.c_str(), static_cast<int>(text.size()) + 1,
                                        SQLITE_PREPARE_PERSISTENT, &raw, &tail);
    Statement statement(raw);
    if (code != SQLITE_OK) return sqlite_failure(handle, code);
    CHECK(statement != nullptr);
    CHECK(tail == nullptr || *tail == '\0');  // one statement a call
    if (statements.size() >= kMaxCachedStatements) statements.clear();
    statements.emplace(std::move(text), std::move(statement));
    return raw;
}

namespace {

// Ends a run of a cached statement: no read lock stays, no parameter stays bound.
struct RunEnd {
    sqlite3_stmt* statement;
    ~RunEnd() {
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
    }
};

int bind_one(sqlite3_stmt* statement, int index, const Parameter::Value& value) {
    struct Binder {
        sqlite3_stmt* statement;
        int index;
        int operator()(std::monostate) const { return sqlite3_bind_null(statement, index); }
        int operator()(std::int64_t number) const { return sqlite3_bind_int64(statement, index, number); }
        int operator()(const std::string& text) const {
            return sqlite3_bind_text64(statement, index, text.data(), text.size(), SQLITE_STATIC,
                                       SQLITE_UTF8);
        }
        int operator()(const Bytes& bytes) const {
            if (bytes.empty())
                return sqlite3_bind_zeroblob(statement, index, 0);  // a null pointer would be NULL
            return sqlite3_bind_blob64(statement, index, bytes.data(), bytes.size(), SQLITE_STATIC);
        }
    };
    return std::visit(Binder{statement, index}, value);
}

// The parameters outlive the run (SQLITE_STATIC).
Status bind_all(sqlite3* handle, sqlite3_stmt* statement, const Parameters& parameters) {
    CHECK_EQ(static_cast<std::size_t>(sqlite3_bind_parameter_count(statement)), parameters.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        const int code = bind_one(statement, static_cast<int>(i) + 1, parameters[i].value());
        if (code != SQLITE_OK) return sqlite_failure(handle, code);
    }
    return {};
}

Result<Cell> read_cell(sqlite3_stmt* statement, int column, ColumnType expected) {
    const int found = sqlite3_column_type(statement, column);
    if (found == SQLITE_NULL) return Cell();
    if (found == SQLITE_INTEGER && expected.kind == ColumnType::kInteger) {
        return Cell(static_cast<std::int64_t>(sqlite3_column_int64(statement, column)));
    }
    if (found == SQLITE_TEXT && expected.kind == ColumnType::kText) {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
        return Cell(std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(statement, column))));
    }
    if (found == SQLITE_BLOB && expected.kind == ColumnType::kBlob) {
        const auto* bytes = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement, column));
        return Cell(Bytes(bytes, bytes + sqlite3_column_bytes(statement, column)));
    }
    return fail(Code::kIntegrity, "a database column has another type than its table says");
}

}  // namespace
}  // namespace detail

using detail::DatabaseSession;
using detail::DatabaseState;

Transaction::Transaction(DatabaseState& database, DatabaseSession* session, bool writes)
    : database_(&database), session_(session), writes_(writes) {}

Transaction::Transaction(Transaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)),
      session_(std::exchange(other.session_, nullptr)),
      writes_(other.writes_) {}

Transaction::~Transaction() {
    if (database_ == nullptr) return;
    // Some failures have rolled back already; then there is nothing to do.
    if (sqlite3_get_autocommit(session_->handle) == 0) (void)run_script(session_->handle, "ROLLBACK");
    end();
}

void Transaction::end() {
    if (writes_) {
        database_->release_writer();
    } else {
        const std::lock_guard lock(database_->mutex);
        database_->idle_readers.emplace_back(session_);
    }
    database_ = nullptr;
    session_ = nullptr;
}

Result<std::int64_t> Transaction::execute(std::string_view sql, const Parameters& parameters) {
    CHECK(database_ != nullptr && writes_);
    if (sqlite3_get_autocommit(session_->handle) != 0) {
        return fail(Code::kConflict, "database: the transaction was rolled back by an earlier failure");
    }
    OSTAL_TRY(sqlite3_stmt* const statement, session_->prepare(sql));
    const detail::RunEnd run_end{statement};
    OSTAL_TRYV(detail::bind_all(session_->handle, statement, parameters));
    int code = SQLITE_ROW;
    while (code == SQLITE_ROW) code = sqlite3_step(statement);
    if (code != SQLITE_DONE) return sqlite_failure(session_->handle, code);
    return static_cast<std::int64_t>(sqlite3_changes64(session_->handle));
}

Result<std::vector<detail::Cells>> Transaction::run_query(std::string_view sql, const Parameters& parameters,
                                                          std::span<const detail::ColumnType> types) {
    CHECK(database_ != nullptr);
    OSTAL_TRY(sqlite3_stmt* const statement, session_->prepare(sql));
    const detail::RunEnd run_end{statement};
    OSTAL_TRYV(detail::bind_all(session_->handle, statement, parameters));
    CHECK_EQ(static_cast<std::size_t>(sqlite3_column_count(statement)), types.size());
    std::vector<detail::Cells> rows;
    for (;;) {
        const int code = sqlite3_step(statement);
        if (code == SQLITE_DONE) return rows;
        if (code != SQLITE_ROW) return sqlite_failure(session_->handle, code);
        detail::Cells& row = rows.emplace_back();
        row.reserve(types.size());
        for (std::size_t i = 0; i < types.size(); ++i) {
            OSTAL_TRY(detail::Cell cell, detail::read_cell(statement, static_cast<int>(i), types[i]));
            row.push_back(std::move(cell));
        }
    }
}

// A commit whose frames were written but could not be synced was rolled back here, and would all the same be found in
// the log (-wal) by a start after a crash. So another transaction is written over those frames; nobody reads or writes
// before that has succeeded. The caller has taken the writer.
Status DatabaseState::settle_doubt() {
    if (!is_in_doubt()) return {};
    const Status undone = run_script(writer->handle, "BEGIN IMMEDIATE; PRAGMA user_version = 1; COMMIT;");
    if (!undone) {
        if (sqlite3_get_autocommit(writer->handle) == 0) (void)run_script(writer->handle, "ROLLBACK");
        return fail(Code::kUnavailable, "a write of the database failed and cannot be undone yet: " +
                                            undone.error().message());
    }
    const std::lock_guard lock(mutex);
    in_doubt = false;
    return {};
}

Status Transaction::commit() {
    CHECK(database_ != nullptr);
    if (sqlite3_get_autocommit(session_->handle) != 0) {
        end();
        return fail(Code::kConflict, "database: the transaction was rolled back by an earlier failure");
    }
    const Status status = run_script(session_->handle, "COMMIT");
    const int why = sqlite3_extended_errcode(session_->handle);
    if (!status && sqlite3_get_autocommit(session_->handle) == 0)
        (void)run_script(session_->handle, "ROLLBACK");
    if (!status && writes_ && (why == SQLITE_IOERR_FSYNC || why == SQLITE_IOERR_DIR_FSYNC)) {
        {
            const std::lock_guard lock(database_->mutex);
            database_->in_doubt = true;
        }
        (void)database_->settle_doubt();  // else the next transaction does it
    }
    end();
    return status;
}

namespace {

// The whole file: page structure, and the types that STRICT tables promise.
Status check_structure(DatabaseSession& session, const std::string& path) {
    OSTAL_TRY(sqlite3_stmt* const statement, session.prepare("PRAGMA quick_check(1)"));
    const detail::RunEnd run_end{statement};
    const int code = sqlite3_step(statement);
    if (code != SQLITE_ROW) return sqlite_failure(session.handle, code);
    const auto* verdict = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
    if (verdict == nullptr || std::string_view(verdict) != "ok") {
        return fail(Code::kIntegrity, "the database " + path + " is damaged: restore it from a backup");
    }
    return {};
}

Result<std::vector<std::pair<int, int>>> applied_migrations(DatabaseSession& session) {
    std::vector<std::pair<int, int>> rows;  // version, min_reader
    {
        OSTAL_TRY(
            sqlite3_stmt* const statement,
            session.prepare("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema'"));
        const detail::RunEnd run_end{statement};
        const int code = sqlite3_step(statement);
        if (code != SQLITE_ROW) return sqlite_failure(session.handle, code);
        if (sqlite3_column_int(statement, 0) == 0) return rows;
    }
    OSTAL_TRY(sqlite3_stmt* const statement,
              session.prepare("SELECT version, min_reader FROM schema ORDER BY version"));
    const detail::RunEnd run_end{statement};
    for (;;) {
        const int code = sqlite3_step(statement);
        if (code == SQLITE_DONE) return rows;
        if (code != SQLITE_ROW) return sqlite_failure(session.handle, code);
        rows.emplace_back(sqlite3_column_int(statement, 0), sqlite3_column_int(statement, 1));
    }
}

Status apply(DatabaseSession& session, const Migration& migration, std::int64_t now_us) {
    std::string script = "BEGIN IMMEDIATE;";
    if (migration.version == 1) {
        script +=
            "CREATE TABLE schema(version INTEGER PRIMARY KEY, min_reader INTEGER NOT NULL, "
            "applied_us INTEGER NOT NULL) STRICT;";
    }
    script += migration.sql;
    script += "INSERT INTO schema(version, min_reader, applied_us) VALUES (" +
              std::to_string(migration.version) + "," + std::to_string(migration.min_reader) + "," +
              std::to_string(now_us) + ");COMMIT;";
    Status status = run_script(session.handle, script);
    if (!status && sqlite3_get_autocommit(session.handle) == 0) (void)run_script(session.handle, "ROLLBACK");
    return status;
}

std::string file_name(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? path : path.substr(slash + 1);
}

struct HandleEnd {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
};

Status copy_database(sqlite3* from, const std::string& to_path) {
    sqlite3* raw = nullptr;
    const int opened = sqlite3_open_v2(to_path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);
    const std::unique_ptr<sqlite3, HandleEnd> to(raw);
    if (opened != SQLITE_OK) return fail(code_of(opened), "cannot open " + to_path);
    sqlite3_backup* const backup = sqlite3_backup_init(to.get(), "main", from, "main");
    if (backup == nullptr) return sqlite_failure(to.get(), sqlite3_errcode(to.get()));
    const int stepped = sqlite3_backup_step(backup, -1);
    const int finished = sqlite3_backup_finish(backup);
    if (stepped != SQLITE_DONE) return sqlite_failure(to.get(), stepped);
    if (finished != SQLITE_OK) return sqlite_failure(to.get(), finished);
    return {};
}

}  // namespace

Status DatabaseState::snapshot() {
    const std::string target = join_path(options.snapshot_folder,
                                         file_name(options.path) + ".before-" + std::to_string(version + 1));
    const std::string temporary = target + ".new";
    if (files.info(temporary)) OSTAL_TRYV(files.remove_file(temporary));
    OSTAL_TRY(const auto file, files.open(temporary, Files::Open::kCreate));
    OSTAL_TRYV(copy_database(writer->handle, temporary));
    OSTAL_TRYV(file->fsync());
    OSTAL_TRYV(files.rename(temporary, target));
    return files.sync_directory(options.snapshot_folder);
}

Status DatabaseState::migrate(const Clock& clock) {
    OSTAL_TRY(const auto applied, applied_migrations(*writer));
    const int newest = static_cast<int>(options.migrations.size());
    int min_reader = 0;
    for (std::size_t i = 0; i < applied.size(); ++i) {
        if (applied[i].first != static_cast<int>(i) + 1) {
            return fail(Code::kIntegrity, "the table of migrations of " + options.path + " has gaps");
        }
        min_reader = std::max(min_reader, applied[i].second);
    }
    version = static_cast<int>(applied.size());
    if (min_reader > newest) {
        return fail(Code::kUnsupported, "the database " + options.path +
                                            " was written by a newer program: schema " +
                                            std::to_string(version) + ", this program knows up to " +
                                            std::to_string(newest) + "; install the newer program again");
    }
    if (version >= newest) return {};
    if (version > 0 && !options.snapshot_folder.empty()) OSTAL_TRYV(snapshot());
    for (int i = version; i < newest; ++i) {
        const Migration& migration = options.migrations[static_cast<std::size_t>(i)];
        CHECK_EQ(migration.version, i + 1);
        auto status = apply(*writer, migration, clock.wall_now_us());
        if (!status) {
            return fail(std::move(status).error().with("while migrating " + options.path + " to schema " +
                                                       std::to_string(migration.version)));
        }
        version = migration.version;
    }
    return {};
}

Database::Database(std::unique_ptr<DatabaseState> state) : state_(std::move(state)) {}

Database::~Database() { CHECK(!state_->writing); }

Result<std::unique_ptr<Database>> Database::open(Files& files, const Clock& clock, const Options& options) {
    {
        // Made here so that it is ours alone; SQLite gives its -wal and -shm the same mode.
        OSTAL_TRY(const auto file, files.open(options.path, Files::Open::kReadWrite));
        if (::fchmod(file->descriptor(), 0600) != 0) {
            return fail(errno_error(errno, "cannot set the mode of " + options.path));
        }
    }
    auto state = std::make_unique<DatabaseState>(options, files);
    OSTAL_TRY(state->writer, DatabaseSession::open(options.path, options.busy_timeout_ms, false));
    OSTAL_TRYV(check_structure(*state->writer, options.path));
    OSTAL_TRYV(state->migrate(clock));
    return std::unique_ptr<Database>(new Database(std::move(state)));
}

Result<Transaction> Database::begin_write() {
    state_->take_writer();
    auto status = state_->settle_doubt();
    if (status) status = run_script(state_->writer->handle, "BEGIN IMMEDIATE");
    if (!status) {
        state_->release_writer();
        return fail(std::move(status).error());
    }
    return Transaction(*state_, state_->writer.get(), true);
}

Result<Transaction> Database::begin_read() {
    if (state_->is_in_doubt()) {
        state_->take_writer();
        const Status settled = state_->settle_doubt();
        state_->release_writer();
        OSTAL_TRYV(settled);
    }
    std::unique_ptr<DatabaseSession> session;
    {
        const std::lock_guard lock(state_->mutex);
        if (!state_->idle_readers.empty()) {
            session = std::move(state_->idle_readers.back());
            state_->idle_readers.pop_back();
        }
    }
    if (session == nullptr) {
        OSTAL_TRY(session,
                  DatabaseSession::open(state_->options.path, state_->options.busy_timeout_ms, true));
    }
    OSTAL_TRYV(run_script(session->handle, "BEGIN"));
    return Transaction(*state_, session.release(), false);
}

int Database::schema_version() const { return state_->version; }

Status Database::truncate_wal() {
    state_->take_writer();
    const int code = sqlite3_wal_checkpoint_v2(state_->writer->handle, "main", SQLITE_CHECKPOINT_TRUNCATE,
                                               nullptr, nullptr);
    Status status;
    if (code != SQLITE_OK) status = sqlite_failure(state_->writer->handle, code);
    state_->release_writer();
    return status;
}

Status Database::copy_to(const std::string& path) {
    OSTAL_TRY(const auto file, state_->files.open(path, Files::Open::kCreate));
    state_->take_writer();
    Status status = copy_database(state_->writer->handle, path);
    state_->release_writer();
    if (!status) {
        (void)state_->files.remove_file(path);
        return status;
    }
    return file->fsync();
}

}  // namespace ostal::security
