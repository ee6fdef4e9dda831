#include "security/audit/log.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>
#include <optional>

#include "base/check.h"
#include "base/queue.h"
#include "base/thread.h"
#include "security/audit/layout.h"
#include "security/audit/store.h"

namespace ostal::security {
namespace {

constexpr auto kWake = std::chrono::milliseconds(100);  // how often an idle audit thread looks at the clock
constexpr std::size_t kMaxRead = 4096;

// One thing for the audit thread to do: append a record, or run a command between batches.
struct Task {
    AuditRecord record;
    AuditLog::Done done;
    AuditLog::Urgency urgency = AuditLog::Urgency::kNormal;
    std::function<void()> command;
};

AuditRecord recovery_record(const std::string& reason) {
    AuditRecord record;
    record.actor = "system";
    record.auth = "none";
    record.action = "audit:recover";
    record.detail = reason;
    return record;
}

}  // namespace

class AuditLog::Impl {
public:
    Impl(Options options, std::unique_ptr<AuditStore> store, Files& files, const Clock& clock, LogSink& sink)
        : options_(std::move(options)),
          files_(files),
          clock_(clock),
          sink_(sink),
          store_(std::move(store)),
          queue_(options_.queue_capacity),
          last_checkpoint_us_(clock.mono_now_us()) {
        publish();
        thread_ = NamedThread("audit", [this] { run(); });
    }

    void submit(AuditRecord record, Done done, Urgency urgency);
    Status run_command(std::function<Status()> command);

    // On the audit thread.
    Status unseal(std::unique_ptr<AuditKeys> keys);
    Status seal(const AuditRecord& record);
    Status recover();
    Status checkpoint_now();
    Status checkpoint_if_due();
    Result<AuditSnapshot> snapshot() { return store_->snapshot(); }
    void set_approvals(std::uint32_t approvals) { approvals_ = approvals; }

    Status close();
    State state() const;
    Result<std::vector<std::string>> read(std::uint64_t first, std::size_t count) const;

private:
    void run();
    void handle(Task first);
    void append_batch(std::vector<Task>& batch);
    Status append_essential(const AuditRecord& record);
    Status refused() const;
    void latch(const Error& error);
    void publish();

    const Options options_;
    Files& files_;
    const Clock& clock_;
    LogSink& sink_;
    std::unique_ptr<AuditStore> store_;  // the audit thread's alone
    BoundedQueue<Task> queue_;
    std::int64_t last_checkpoint_us_;
    std::atomic<std::uint32_t> approvals_{0};
    std::atomic<bool> stopping_{false};

    mutable std::mutex mutex_;  // of what state() shows
    State state_;
    Code latch_code_ = Code::kUnavailable;

    std::mutex close_mutex_;
    bool closed_ = false;
    Status close_status_;
    NamedThread thread_;
};

// --- any thread ---

void AuditLog::Impl::submit(AuditRecord record, Done done, Urgency urgency) {
    if (urgency == Urgency::kNormal) {
        if (auto status = refused(); !status) return done(std::move(status));
    }
    // The callback is shared so that it can still be called when the queue does not take it.
    auto shared = std::make_shared<Done>(std::move(done));
    Task task{std::move(record), [shared](Status status) { (*shared)(std::move(status)); }, urgency, {}};
    const bool taken =
        urgency == Urgency::kEssential ? queue_.push(std::move(task)) : queue_.try_push(std::move(task));
    if (!taken) {
        (*shared)(fail(Code::kUnavailable, stopping_ ? "the audit log is closed"
                                                     : "the audit log cannot keep up: try again shortly"));
    }
}

Status AuditLog::Impl::run_command(std::function<Status()> command) {
    std::promise<Status> promise;
    auto future = promise.get_future();
    Task task;
    task.command = [&] { promise.set_value(command()); };
    if (!queue_.push(std::move(task))) return fail(Code::kUnavailable, "the audit log is closed");
    return future.get();
}

Status AuditLog::Impl::refused() const {
    const std::lock_guard lock(mutex_);
    if (!state_.latched) return {};
    return fail(latch_code_, "the audit log cannot be written, so nothing is done that it should record: " +
                                 state_.latch_reason);
}

AuditLog::State AuditLog::Impl::state() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

Result<std::vector<std::string>> AuditLog::Impl::read(std::uint64_t first, std::size_t count) const {
    const std::uint64_t records = state().records;
    if (first >= records) return std::vector<std::string>();
    count = static_cast<std::size_t>(std::min<std::uint64_t>({count, kMaxRead, records - first}));
    return read_records(files_, options_.folder, first, count);
}

Status AuditLog::Impl::close() {
    const std::lock_guard lock(close_mutex_);
    if (closed_) return close_status_;
    close_status_ = run_command([this] { return checkpoint_now(); });
    closed_ = true;
    queue_.close();  // first, so that nothing is taken after the thread's last look
    stopping_ = true;
    thread_.join();
    return close_status_;
}

// --- the audit thread ---

void AuditLog::Impl::run() {
    while (true) {
        std::optional<Task> task = queue_.pop_for(kWake);
        if (task)
            handle(std::move(*task));
        else if (stopping_)
            return;
        (void)checkpoint_if_due();
        publish();
    }
}

// Takes what waits with `first`: records that arrived together are written together.
void AuditLog::Impl::handle(Task first) {
    std::vector<Task> batch;
    std::optional<Task> task(std::move(first));
    while (task && !task->command) {
        batch.push_back(std::move(*task));
        task = batch.size() < store_->room() ? queue_.try_pop() : std::nullopt;
    }
    if (!batch.empty()) append_batch(batch);
    if (task) task->command();
}

void AuditLog::Impl::append_batch(std::vector<Task>& batch) {
    Status status = refused();
    if (status) {
        std::vector<AuditRecord> records;
        for (Task& task : batch) records.push_back(task.record);
        status = store_->write(records, approvals_);
        if (!status) latch(status.error());
        status = status ? status : refused();
    }
    publish();
    for (Task& task : batch) {
        const bool again = !status && task.urgency == Urgency::kEssential;
        task.done(again ? append_essential(task.record) : status);
    }
    if (auto rotated = store_->rotate(); !rotated && !state().latched) latch(rotated.error());
}

// A record that must be possible while the log is latched. The latch stays.
Status AuditLog::Impl::append_essential(const AuditRecord& record) {
    if (latch_code_ == Code::kNoSpace) OSTAL_TRYV(store_->release_reserve());
    OSTAL_TRYV(store_->repair());
    OSTAL_TRYV(store_->rotate());
    OSTAL_TRYV(store_->write({&record, 1}, approvals_));
    publish();
    return {};
}

void AuditLog::Impl::latch(const Error& error) {
    {
        const std::lock_guard lock(mutex_);
        state_.latched = true;
        state_.latch_reason = error.to_string();
        latch_code_ = error.code() == Code::kNoSpace ? Code::kNoSpace : Code::kUnavailable;
    }
    sink_.error("the audit log is latched: requests are refused", {{"error", error.to_string()}});
}

Status AuditLog::Impl::checkpoint_if_due() {
    if (!store_->has_keys() || state().latched) return {};
    const std::uint64_t grown = store_->records() - store_->checkpoint_size();
    const bool late = clock_.mono_now_us() - last_checkpoint_us_ >= options_.checkpoint_interval_us;
    if (grown == 0 || (grown < options_.checkpoint_records && !late)) return {};
    return checkpoint_now();
}

Status AuditLog::Impl::checkpoint_now() {
    OSTAL_TRYV(refused());
    if (!store_->has_keys()) return {};
    last_checkpoint_us_ = clock_.mono_now_us();
    auto status = store_->checkpoint();
    if (!status) latch(status.error());
    publish();
    return status;
}

Status AuditLog::Impl::unseal(std::unique_ptr<AuditKeys> keys) {
    OSTAL_TRYV(store_->set_keys(std::move(keys)));
    auto status = checkpoint_now();
    if (!status) store_->drop_keys();
    return status;
}

// The keys go in any case; what could not be written is the answer.
Status AuditLog::Impl::seal(const AuditRecord& record) {
    auto status = state().latched ? append_essential(record) : store_->write({&record, 1}, approvals_);
    if (!status && !state().latched) {
        latch(status.error());
        status = append_essential(record);
    }
    if (status && store_->has_keys()) status = store_->checkpoint();
    if (auto rotated = store_->rotate(); !rotated) latch(rotated.error());
    store_->drop_keys();
    publish();
    return status;
}

Status AuditLog::Impl::recover() {
    const std::string reason = state().latch_reason;
    OSTAL_TRYV(store_->repair());
    OSTAL_TRYV(store_->rotate());
    OSTAL_TRYV(store_->restore_reserve());
    if (state().latched) {
        const AuditRecord record = recovery_record(reason);
        OSTAL_TRYV(store_->write({&record, 1}, approvals_));
        OSTAL_TRYV(store_->rotate());
    }
    if (store_->has_keys()) OSTAL_TRYV(store_->checkpoint());
    {
        const std::lock_guard lock(mutex_);
        state_.latched = false;
        state_.latch_reason.clear();
    }
    publish();
    return {};
}

void AuditLog::Impl::publish() {
    const std::lock_guard lock(mutex_);
    state_.records = store_->records();
    state_.checkpoint_size = store_->checkpoint_size();
    state_.sealed = !store_->has_keys();
    state_.cut_bytes = store_->cut_bytes();
}

// --- the interface ---

AuditLog::AuditLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AuditLog::~AuditLog() { (void)impl_->close(); }

Result<std::unique_ptr<AuditLog>> AuditLog::open(Options options, Files& files, const Clock& clock,
                                                 LogSink& sink) {
    CHECK(options.queue_capacity > 0 && options.checkpoint_records > 0);
    OSTAL_TRY(auto store, AuditStore::open({options.folder, options.reserve_bytes}, files, clock, sink));
    auto impl = std::make_unique<Impl>(std::move(options), std::move(store), files, clock, sink);
    return std::unique_ptr<AuditLog>(new AuditLog(std::move(impl)));
}

Status AuditLog::append(AuditRecord record, Urgency urgency) {
    std::promise<Status> promise;
    auto future = promise.get_future();
    append(
        std::move(record), [&](Status status) { promise.set_value(std::move(status)); }, urgency);
    return future.get();
}

void AuditLog::append(AuditRecord record, Done done, Urgency urgency) {
    impl_->submit(std::move(record), std::move(done), urgency);
}

Status AuditLog::unseal(std::unique_ptr<AuditKeys> keys) {
    return impl_->run_command([&] { return impl_->unseal(std::move(keys)); });
}
Status AuditLog::seal(AuditRecord record) {
    return impl_->run_command([&] { return impl_->seal(record); });
}
void AuditLog::set_approvals_required(std::uint32_t approvals) { impl_->set_approvals(approvals); }
Status AuditLog::checkpoint() {
    return impl_->run_command([&] { return impl_->checkpoint_now(); });
}
Status AuditLog::tick() {
    return impl_->run_command([&] { return impl_->checkpoint_if_due(); });
}
Status AuditLog::recover() {
    return impl_->run_command([&] { return impl_->recover(); });
}
Result<AuditSnapshot> AuditLog::snapshot() {
    AuditSnapshot out;
    OSTAL_TRYV(impl_->run_command([&]() -> Status {
        OSTAL_TRY(out, impl_->snapshot());
        return {};
    }));
    return out;
}
Status AuditLog::close() { return impl_->close(); }
AuditLog::State AuditLog::state() const { return impl_->state(); }
Result<std::vector<std::string>> AuditLog::read(std::uint64_t first, std::size_t count) const {
    return impl_->read(first, count);
}

}  // namespace ostal::security
