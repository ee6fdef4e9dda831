// Counters, gauges and histograms, and their OpenMetrics text form.
//
// https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace ostal {

using Labels = std::vector<std::pair<std::string, std::string>>;

// Writes one exposition: families in call order, each with its samples.
class MetricsWriter {
public:
    void counter(const std::string& name, const std::string& help);  // name without _total
    void gauge(const std::string& name, const std::string& help);
    void histogram(const std::string& name, const std::string& help);
    // A sample of the family begun last; `suffix` as "_total", "_bucket", "_sum", "_count" or "".
    void sample(const std::string& suffix, const Labels& labels, double value);
    std::string finish() &&;  // with # EOF

private:
    void family(const std::string& name, const char* type, const std::string& help);
    std::string name_;
    std::string text_;
};

// Fixed buckets in seconds; observe() is lock-free.
class LatencyHistogram {
public:
    static constexpr std::array<double, 14> kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                       0.25,  0.5,    1,     2.5,  5,     10,   60};
    void observe_us(std::int64_t us);
    void write(MetricsWriter& writer, const std::string& name, const std::string& help) const;

private:
    std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> counts_{};
    std::atomic<std::int64_t> sum_us_{0};
};

// Requests by route pattern, method and status class; the set of routes is closed, so the map stays small.
class RequestCounter {
public:
    void count(const std::string& route, const std::string& method, int status);
    void write(MetricsWriter& writer) const;

private:
    mutable std::mutex mutex_;
    std::map<std::array<std::string, 3>, std::uint64_t> counts_;
};

}  // namespace ostal
