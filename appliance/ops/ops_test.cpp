#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "appliance/ops/logging.h"
#include "appliance/ops/metrics.h"
#include "appliance/ops/sd_notify.h"
#include "base/json.h"

namespace ostal {
namespace {

TEST(Logging, ValuesNeverMakeLinesOfTheirOwn) {
    const std::string line = format_log_line(LogFormat::kText, LogLevel::kWarning, 0, "bad\nname",
                                             {{"user", "eve\n<3>root logged in"}, {"n", "7"}});
    EXPECT_EQ(line, "<4>bad\\nname user=\"eve\\n<3>root logged in\" n=7\n");
    const std::string json_line = format_log_line(LogFormat::kJson, LogLevel::kInfo, 0, "m", {{"k", "a\r\nb"}});
    EXPECT_EQ(json::parse(json_line)->find("k")->as_string(), "a\r\nb");
    EXPECT_EQ(json_line.find('\n'), json_line.size() - 1);
}

TEST(Logging, WritesByItsThreadAndFiltersByLevel) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const ManualClock clock;
    {
        Logger log(ends[1], LogLevel::kInfo, LogFormat::kText, clock);
        log.debug("unseen");
        log.info("seen", {{"n", "1"}});
    }
    ::close(ends[1]);
    char buffer[256];
    const ssize_t got = ::read(ends[0], buffer, sizeof buffer);
    EXPECT_EQ(std::string(buffer, static_cast<std::size_t>(got)), "<6>seen n=1\n");
    ::close(ends[0]);
}

TEST(Systemd, NotifyReachesAnAbstractSocket) {
    const int server = ::socket(AF_UNIX, SOCK_DGRAM, 0);
    const std::string name = "@ostal-notify-test-" + std::to_string(::getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    address.sun_path[0] = '\0';
    ASSERT_EQ(::bind(server, reinterpret_cast<sockaddr*>(&address),
                     static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())), 0);
    const SystemdNotifier notifier(name);
    EXPECT_TRUE(notifier.send("READY=1"));
    char buffer[64];
    EXPECT_EQ(::recv(server, buffer, sizeof buffer, 0), 7);
    ::close(server);
    EXPECT_FALSE(SystemdNotifier("").send("READY=1"));
}

TEST(Systemd, NoPassedSocketsForAnotherProcess) {
    EXPECT_TRUE(passed_sockets("1", "1")->empty());
    EXPECT_TRUE(passed_sockets(nullptr, nullptr)->empty());
    EXPECT_TRUE(passed_sockets("x", "y")->empty());
}

TEST(Metrics, TextForm) {
    MetricsWriter writer;
    RequestCounter requests;
    requests.count("/v1/models", "GET", 200);
    requests.count("/v1/models", "GET", 200);
    requests.write(writer);
    LatencyHistogram latency;
    latency.observe_us(1000);
    latency.observe_us(70'000'000);
    latency.write(writer, "ostal_ttft_seconds", "Time to first token");
    const std::string text = std::move(writer).finish();
    EXPECT_NE(text.find("ostal_requests_total{route=\"/v1/models\",method=\"GET\",status=\"200\"} 2\n"), std::string::npos);
    EXPECT_NE(text.find("ostal_ttft_seconds_bucket{le=\"0.001\"} 1\n"), std::string::npos);
    EXPECT_NE(text.find("ostal_ttft_seconds_bucket{le=\"60\"} 1\n"), std::string::npos);
    EXPECT_NE(text.find("ostal_ttft_seconds_bucket{le=\"+Inf\"} 2\n"), std::string::npos);
    EXPECT_NE(text.find("ostal_ttft_seconds_count 2\n"), std::string::npos);
    EXPECT_TRUE(text.ends_with("# EOF\n"));
}

}  // namespace
}  // namespace ostal
