#include "appliance/api/routes.h"
#include "appliance/core/appliance.h"

namespace ostal::api {
namespace {

void write_engines(MetricsWriter& writer, const LoadedModels& models) {
    struct Figure {
        const char* name;
        const char* help;
        bool counter;
        std::int64_t engine::EngineStats::*field;
    };
    static constexpr Figure kFigures[] = {
        {"ostal_queue_depth", "Requests waiting for a place", false, &engine::EngineStats::waiting},
        {"ostal_sequences_running", "Sequences with KV blocks", false, &engine::EngineStats::running},
        {"ostal_sequences_paused", "Sequences whose reader is slow", false, &engine::EngineStats::paused},
        {"ostal_kv_blocks", "KV blocks in all", false, &engine::EngineStats::kv_blocks_total},
        {"ostal_kv_blocks_free", "KV blocks that are free", false, &engine::EngineStats::kv_blocks_free},
        {"ostal_prompt_tokens", "Prompt tokens computed", true, &engine::EngineStats::prompt_tokens},
        {"ostal_completion_tokens", "Tokens generated", true, &engine::EngineStats::completion_tokens},
        {"ostal_engine_steps", "Steps of the engine", true, &engine::EngineStats::steps},
    };
    const auto loaded = models.list();
    for (const Figure& figure : kFigures) {
        if (figure.counter) {
            writer.counter(figure.name, figure.help);
        } else {
            writer.gauge(figure.name, figure.help);
        }
        for (const auto& model : loaded) {
            const engine::EngineStats stats = model->engine->stats();
            writer.sample(figure.counter ? "_total" : "", {{"model", model->name}}, static_cast<double>(stats.*figure.field));
        }
    }
}

void write_inference(MetricsWriter& writer, const InferenceMetrics& figures) {
    writer.counter("ostal_inference", "Inferences by how they ended");
    const auto sample = [&](const char* end, const std::atomic<std::uint64_t>& count) {
        writer.sample("_total", {{"end", end}}, static_cast<double>(count.load()));
    };
    sample("finished", figures.finished);
    sample("cancelled", figures.cancelled);
    sample("failed", figures.failed);
    figures.time_to_first_token.write(writer, "ostal_ttft_seconds", "Time from admission to the first token");
    figures.inter_token.write(writer, "ostal_inter_token_seconds", "Time between tokens of one answer");
    figures.duration.write(writer, "ostal_inference_seconds", "Time from admission to the end");
}

void write_server(MetricsWriter& writer, const http::ServerStats& stats) {
    const auto gauge = [&](const char* name, const char* help, std::uint64_t value) {
        writer.gauge(name, help);
        writer.sample("", {}, static_cast<double>(value));
    };
    const auto counter = [&](const char* name, const char* help, std::uint64_t value) {
        writer.counter(name, help);
        writer.sample("_total", {}, static_cast<double>(value));
    };
    const auto sample = [&](const char* label, const char* value, std::uint64_t count) {
        writer.sample("_total", {{label, value}}, static_cast<double>(count));
    };
    gauge("ostal_http_connections", "Open connections", stats.open_connections);
    gauge("ostal_http_streams", "Streamed answers under way", stats.open_streams);
    counter("ostal_http_accepted", "Accepted connections, refused ones among them", stats.accepted);
    counter("ostal_http_accept_errors", "Failures to accept: no descriptors, no memory", stats.accept_errors);
    writer.counter("ostal_http_refused_connections", "Connections closed at once, by the cap that was reached");
    sample("cap", "address", stats.refused_by_address_cap);
    sample("cap", "total", stats.refused_by_total_cap);
    counter("ostal_http_handshake_failures", "TLS handshakes that failed, by time or by content", stats.handshake_failures);
    counter("ostal_http_headers", "Request headers that were valid", stats.requests);
    counter("ostal_http_faults", "Requests refused as malformed, too large or too slow", stats.faults);
    counter("ostal_http_clients_gone", "Clients that left while an answer was due", stats.clients_gone);
    writer.counter("ostal_http_timeouts", "Waits that reached their limit, by what was waited for");
    sample("wait", "handshake", stats.handshake_timeouts);
    sample("wait", "header", stats.header_timeouts);
    sample("wait", "body", stats.body_timeouts);
    sample("wait", "idle", stats.idle_timeouts);
    sample("wait", "write", stats.write_timeouts);
    sample("wait", "shutdown", stats.shutdown_timeouts);
}

void write_audit(MetricsWriter& writer, const security::AuditLog& audit) {
    const auto state = audit.state();
    writer.counter("ostal_audit_records", "Durable audit records");
    writer.sample("_total", {}, static_cast<double>(state.records));
    writer.gauge("ostal_audit_checkpoint_records", "Records under the last signed checkpoint");
    writer.sample("", {}, static_cast<double>(state.checkpoint_size));
    writer.gauge("ostal_audit_latched", "1 when the audit log cannot be written");
    writer.sample("", {}, state.latched ? 1 : 0);
}

}  // namespace

void metrics(Services& services, Call call) {
    MetricsWriter writer;
    services.requests.write(writer);
    if (services.server_stats) write_server(writer, services.server_stats());
    write_inference(writer, services.inference);
    write_engines(writer, services.appliance.models());
    write_audit(writer, services.appliance.audit());
    http::Response response;
    response.headers = {{"content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8"},
                        {"cache-control", "no-store"}};
    response.body = std::move(writer).finish();
    call.respond(std::move(response));
}

}  // namespace ostal::api
