#include "appliance/cli/ostalctl/secrets.h"

#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace ostal::ctl {

Result<std::string> read_secret(const std::string& prompt) {
    const bool terminal = ::isatty(STDIN_FILENO) == 1;
    termios before{};
    if (terminal) {
        ::tcgetattr(STDIN_FILENO, &before);
        termios silent = before;
        silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
        std::fprintf(stderr, "%s: ", prompt.c_str());
    }
    // Byte by byte: several secrets may come in one pipe, a line each.
    std::string line;
    bool ended = false;
    for (;;) {
        char c = 0;
        const ssize_t got = ::read(STDIN_FILENO, &c, 1);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            ended = true;
            break;
        }
        if (c == '\n') break;
        line += c;
    }
    if (terminal) {
        ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        std::fputc('\n', stderr);
    }
    if (ended && line.empty()) return fail(Code::kUsage, "standard input ended before the " + prompt);
    return line;
}

}  // namespace ostal::ctl
