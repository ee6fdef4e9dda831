#include "appliance/ops/metrics.h"

#include <charconv>
#include <cmath>

namespace ostal {
namespace {

std::string number(double value) {
    if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
    if (std::isnan(value)) return "NaN";
    char buffer[64];
    return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}

std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '\n') {
            out += "\\n";
            continue;
        }
        if (c == '\\' || c == '"') out += '\\';
        out += c;
    }
    return out;
}

}  // namespace

void MetricsWriter::family(const std::string& name, const char* type, const std::string& help) {
    name_ = name;
    text_ += "# TYPE " + name + " " + type + "\n# HELP " + name + " " + escaped(help) + "\n";
}
void MetricsWriter::counter(const std::string& name, const std::string& help) { family(name, "counter", help); }
void MetricsWriter::gauge(const std::string& name, const std::string& help) { family(name, "gauge", help); }
void MetricsWriter::histogram(const std::string& name, const std::string& help) { family(name, "histogram", help); }

void MetricsWriter::sample(const std::string& suffix, const Labels& labels, double value) {
    text_ += name_ + suffix;
    if (!labels.empty()) {
        text_ += '{';
        bool first = true;
        for (const auto& [key, label] : labels) {
            if (!first) text_ += ',';
            first = false;
            text_ += key + "=\"" + escaped(label) + "\"";
        }
        text_ += '}';
    }
    text_ += " " + number(value) + "\n";
}

std::string MetricsWriter::finish() && { return std::move(text_) + "# EOF\n"; }

void LatencyHistogram::observe_us(std::int64_t us) {
    std::size_t bucket = 0;
    while (bucket < kBounds.size() && static_cast<double>(us) > kBounds[bucket] * 1e6) ++bucket;
    counts_[bucket].fetch_add(1, std::memory_order_relaxed);
    sum_us_.fetch_add(us, std::memory_order_relaxed);
}

void LatencyHistogram::write(MetricsWriter& writer, const std::string& name, const std::string& help) const {
    writer.histogram(name, help);
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
        total += counts_[i].load(std::memory_order_relaxed);
        const std::string bound = i < kBounds.size() ? number(kBounds[i]) : "+Inf";
        writer.sample("_bucket", {{"le", bound}}, static_cast<double>(total));
    }
    writer.sample("_sum", {}, static_cast<double>(sum_us_.load(std::memory_order_relaxed)) / 1e6);
    writer.sample("_count", {}, static_cast<double>(total));
}

void RequestCounter::count(const std::string& route, const std::string& method, int status) {
    const std::lock_guard lock(mutex_);
    ++counts_[{route, method, std::to_string(status)}];
}

void RequestCounter::write(MetricsWriter& writer) const {
    writer.counter("ostal_requests", "Answered requests by route, method and status");
    const std::lock_guard lock(mutex_);
    for (const auto& [key, count] : counts_) {
        writer.sample("_total", {{"route", key[0]}, {"method", key[1]}, {"status", key[2]}}, static_cast<double>(count));
    }
}

}  // namespace ostal
