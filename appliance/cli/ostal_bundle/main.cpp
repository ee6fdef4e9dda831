// ostal-bundle: the vendor's tool (commands.h).
#include <iostream>

#include "appliance/cli/ostal_bundle/commands.h"

int main(int argc, char** argv) {
    ostal::PosixFiles files;
    const ostal::SystemClock clock;
    ostal::SystemRandom random;
    const std::vector<std::string> words(argv + 1, argv + argc);
    return ostal::bundle::run_command(words, {files, clock, random}, {std::cout, std::cerr});
}
