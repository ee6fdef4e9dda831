// ostald: the daemon. Reads top-down in the order that the design prescribes: options and configuration; zygote;
// listeners; sandbox; threads.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>

#include "appliance/api/errors.h"
#include "appliance/api/gateway.h"
#include "appliance/api/routes.h"
#include "appliance/cli/exit_code.h"
#include "appliance/config.h"
#include "appliance/control/operations.h"
#include "appliance/control/server.h"
#include "appliance/core/appliance.h"
#include "appliance/core/work_pool.h"
#include "appliance/model_store/verify.h"
#include "appliance/net/server.h"
#include "appliance/net/sockets.h"
#include "appliance/ops/logging.h"
#include "appliance/ops/sd_notify.h"
#include "appliance/tls/context.h"
#include "base/clock.h"
#include "base/random.h"
#include "security/crypto/self_test.h"
#include "security/sandbox/harden.h"

namespace ostal {
namespace {

constexpr int kWorkThreads = 4;
constexpr std::size_t kWorkQueue = 4096;
constexpr const char* kVersion = OSTAL_VERSION;

struct Options {
    std::string config_file = "/etc/ostal/ostal.toml";
    std::optional<std::string> listen;
    bool routes = false;
    bool help = false;
    bool version = false;
};

constexpr const char* kHelp =
    "usage: ostald [--config FILE] [--listen ADDR:PORT]\n"
    "       ostald --routes | --version | --help\n\n"
    "  --config FILE       configuration (default /etc/ostal/ostal.toml)\n"
    "  --listen ADDR:PORT  bind this address instead of the configured listeners (port 0: any free one)\n"
    "  --routes            print every route of the HTTPS server and the permission it needs\n"
    "  --version           print the version\n\n"
    "Listening sockets passed by a service manager (LISTEN_FDS) are matched to [[listener]] blocks by port.\n";

Result<Options> parse_options(int argc, char** argv) {
    Options out;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        const auto value = [&]() -> Result<std::string> {
            if (i + 1 >= argc) return fail(Code::kUsage, word + " needs a value");
            return std::string(argv[++i]);
        };
        if (word == "--config") {
            OSTAL_TRY(out.config_file, value());
        } else if (word == "--listen") {
            OSTAL_TRY(out.listen, value());
        } else if (word == "--routes") {
            out.routes = true;
        } else if (word == "--help" || word == "-h") {
            out.help = true;
        } else if (word == "--version") {
            out.version = true;
        } else {
            return fail(Code::kUsage, "unknown option " + word + "; ostald --help lists them");
        }
    }
    return out;
}

// The sockets of the service manager; taken out of the environment, so that nobody takes them twice.
Result<std::vector<http::ListenSocket>> inherited_listeners() {
    OSTAL_TRY(const auto passed, passed_sockets(std::getenv("LISTEN_FDS"), std::getenv("LISTEN_PID")));
    for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
    std::vector<http::ListenSocket> out;
    for (const PassedSocket& socket : passed) {
        OSTAL_TRY(auto listener, http::adopt_listener(socket.descriptor));
        out.push_back(std::move(listener));
    }
    return out;
}

Result<std::vector<http::ListenSocket>> open_listeners(const Options& options, const Config& config) {
    OSTAL_TRY(auto passed, inherited_listeners());
    std::vector<http::ListenAddress> wanted;
    if (options.listen) {
        OSTAL_TRY(const auto address, http::parse_listen_address(*options.listen));
        wanted.push_back(address);
    } else {
        for (const ListenerConfig& listener : config.listeners) wanted.push_back({listener.address, listener.port});
    }
    if (!passed.empty()) return http::match_listeners(wanted, std::move(passed));
    std::vector<http::ListenSocket> out;
    for (const http::ListenAddress& address : wanted) {
        OSTAL_TRY(auto socket, http::bind_listener(address));
        out.push_back(std::move(socket));
    }
    return out;
}

// What an auditor compares with the roles, and what the tests of closed doors walk through.
void print_routes() {
    for (const api::RouteSpec& route : api::route_specs()) {
        std::string needs = "public";
        if (std::holds_alternative<http::SignedIn>(route.access)) needs = "signed-in";
        if (const auto* permission = std::get_if<http::Permission>(&route.access)) needs = permission->name;
        std::cout << http::method_name(route.method) << " " << route.pattern << " " << needs << "\n";
    }
}

std::string parent_folder(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string credential_path(const Config& config) {
    const char* folder = std::getenv("CREDENTIALS_DIRECTORY");
    if (config.keys.unseal_credential.empty() || folder == nullptr) return {};
    return join_path(folder, config.keys.unseal_credential);
}

security::FileAccess file_access(const Config& config) {
    security::FileAccess access;
    access.read_write = {config.paths.state, parent_folder(config.paths.control_socket)};
    access.read_only = {config.paths.trust, "/proc/self", "/proc/meminfo", "/sys/devices/system", "/sys/fs/cgroup",
                        "/sys/kernel/mm/transparent_hugepage", "/etc/localtime", "/usr/share/zoneinfo"};
    if (!config.keys.unseal_key_file.empty()) access.read_only.push_back(config.keys.unseal_key_file);
    if (const std::string path = credential_path(config); !path.empty()) access.read_only.push_back(path);
    return access;
}

// Unseals with the key file or the credential that the configuration names.
Status unseal_at_start(Appliance& appliance, const Config& config) {
    std::string path = config.keys.unseal_key_file;
    if (path.empty()) path = credential_path(config);
    if (path.empty() || appliance.phase() != Phase::kSealed) return {};
    OSTAL_TRY(Bytes key, read_file(appliance.files(), path, 4096));
    const auto secret = security::SlotSecret::key_file(security::SecretBytes::copy_of(key));
    security::wipe(key);
    api::Caller caller;
    caller.actor = "system";
    caller.auth = "none";
    return appliance.unseal(secret, caller);
}

Result<std::shared_ptr<const tls::Context>> make_tls(const Appliance& appliance, const Config& config) {
    const ServerIdentity& identity = appliance.identity();
    OSTAL_TRY(auto chain, tls::Certificate::chain_from_pem(identity.certificate_pem()));
    OSTAL_TRY(const auto key, tls::PrivateKey::from_pem(identity.private_key_pem().bytes()));
    return tls::Context::make({std::move(chain), config.server.min_tls == "1.2"}, key, appliance.clock());
}

http::ServerOptions server_options(const Config& config, std::size_t connections) {
    http::ServerOptions options;
    options.io_threads = physical_cpus().size() >= 8 ? 2 : 1;
    options.allowed_hosts = config.server.hosts;
    options.limits.connections = connections;
    options.limits.connections_per_ip = static_cast<std::size_t>(config.server.max_connections_per_ip);
    options.error_body = api::transport_error;
    return options;
}

sigset_t end_signals() {
    sigset_t set{};
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::sigaddset(&set, SIGINT);
    return set;
}

// What the process did before it had threads, told once there is a log.
struct StartSteps {
    std::string done;
    void add(const char* step) { done += (done.empty() ? "" : ",") + std::string(step); }
};

Status serve(const Options& options) {
    StartSteps steps;
    // 1. Options and configuration.
    OSTAL_TRY(const LoadedConfig loaded, load_config(options.config_file));
    const Config& config = loaded.config;
    OSTAL_TRYV(security::harden_process());
    const sigset_t signals = end_signals();
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    steps.add("config");

    // 2. The zygote, before threads, keys, locks and listeners. A machine that computes wrongly does not start.
    OSTAL_TRYV(security::self_test());
    prepare_verify_jobs();
    OSTAL_TRY(security::Zygote zygote, security::Zygote::start(run_verify_job));
    steps.add("zygote");

    // 3. Listeners.
    PosixFiles files;
    OSTAL_TRYV(make_directories(files, config.paths.state));
    OSTAL_TRY(auto sockets, open_listeners(options, config));
    OSTAL_TRY(Descriptor control_socket, ControlServer::bind(config.paths.control_socket));
    const auto wanted_connections = static_cast<std::size_t>(config.server.max_connections);
    const std::size_t connections = http::make_room_for_connections(wanted_connections);
    steps.add("listeners");

    // 4. Sandbox.
    OSTAL_TRY(const auto files_confined, security::restrict_file_access(file_access(config)));
    OSTAL_TRY(const auto calls_confined, security::restrict_system_calls());
    steps.add("sandbox");

    // 5. Threads, in the order of construction; destroyed in reverse.
    const SystemClock clock;
    SystemClock server_clock;
    SystemRandom random;
    Logger log(STDERR_FILENO, config.log.level,
               config.log.format == "json" ? LogFormat::kJson : LogFormat::kText, clock);
    steps.add("threads");
    const SystemdNotifier notifier(std::getenv("NOTIFY_SOCKET") == nullptr ? "" : std::getenv("NOTIFY_SOCKET"));
    log.info("starting", {{"version", kVersion}, {"steps", steps.done}});
    if (files_confined == security::Confinement::kUnsupported) log.warning("no Landlock here: file access is not confined");
    if (calls_confined == security::Confinement::kUnsupported) log.warning("system calls are not confined in this build");
    if (connections < wanted_connections) {
        log.warning("the limit of open files leaves fewer connections than configured",
                    {{"connections", std::to_string(connections)}});
    }
    if (::geteuid() == 0) log.warning("running as root; the packaged service runs as the user ostal");
    if (const Status locking = security::check_memory_locking(); !locking) {
        log.warning("memory cannot be locked", {{"reason", locking.error().to_string()}});
    }

    OSTAL_TRY(auto appliance, Appliance::open(config, {files, clock, random, log, &zygote}));
    api::Services services{*appliance, {}, {}, {}};
    WorkPool pool("ost-work", kWorkThreads, kWorkQueue, log);
    api::Gateway gateway(services, api::make_routes(services), pool);
    OSTAL_TRY(auto tls_context, make_tls(*appliance, config));
    OSTAL_TRY(auto server, http::Server::make(server_options(config, connections), std::move(sockets),
                                              std::move(tls_context), gateway, server_clock, random, log));
    services.server_stats = [&server] { return server->stats(); };
    OSTAL_TRYV(server->start());
    Operations operations(*appliance, [&] {
        auto renewed = make_tls(*appliance, config);
        if (renewed) {
            server->set_tls(std::move(*renewed));
        } else {
            log.error("the new certificate cannot be used", {{"error", renewed.error().to_string()}});
        }
    });
    {
        const ControlServer control(std::move(control_socket), config.paths.control_socket,
                                    [&](Channel channel) { operations.serve(std::move(channel)); }, log);
        if (const Status unsealed = unseal_at_start(*appliance, config); !unsealed) {
            log.error("not unsealed at start", {{"error", unsealed.error().to_string()}});
        }
        std::string ports;
        for (const std::uint16_t port : server->ports()) ports += (ports.empty() ? "" : ",") + std::to_string(port);
        log.info("serving", {{"ports", ports}, {"phase", std::string(phase_name(appliance->phase()))}});
        notifier.send("READY=1\nSTATUS=" + std::string(phase_name(appliance->phase())));

        int signal_number = 0;
        ::sigwait(&signals, &signal_number);
        log.info("ending", {{"signal", signal_number == SIGTERM ? "TERM" : "INT"}});
        notifier.send("STOPPING=1");
        appliance->begin_end();
        server->stop(std::chrono::milliseconds(config.server.drain_seconds * 1000));
    }
    pool.stop();
    // Engines and audit thread end while everything that their callbacks name still lives.
    appliance.reset();
    return {};
}

}  // namespace
}  // namespace ostal

int main(int argc, char** argv) {
    const auto options = ostal::parse_options(argc, argv);
    if (!options) {
        std::cerr << "ostald: " << options.error().message() << "\n";
        return ostal::exit_code(options.error().code());
    }
    if (options->help) {
        std::cout << ostal::kHelp;
        return 0;
    }
    if (options->routes) {
        ostal::print_routes();
        return 0;
    }
    if (options->version) {
        std::cout << "ostald " << ostal::kVersion << "\n";
        return 0;
    }
    const ostal::Status served = ostal::serve(*options);
    if (!served) {
        std::cerr << "<3>ostald: " << served.error().to_string() << "\n";
        return ostal::exit_code(served.error().code());
    }
    return 0;
}
