// ostal-engine: the engine on plain model folders (commands.h).
#include <csignal>
#include <iostream>

#include "appliance/cli/ostal_engine/commands.h"

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);  // a reader that left is a failed write
    std::ios::sync_with_stdio(false);
    const ostal::SystemClock clock;
    const std::vector<std::string> words(argv + 1, argv + argc);
    return ostal::engine_tool::run(words, clock, {std::cin, std::cout, std::cerr});
}
