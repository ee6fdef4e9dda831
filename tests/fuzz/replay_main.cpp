// The fuzz targets without libFuzzer: replays a kept corpus, then changes its inputs at random for a while.
//
//   fuzz_NAME FOLDER [SECONDS [SEED]]
//
// The changes are few and blunt (bits, cuts, repeats, splices, numbers at their limits): they find what an edit of a
// parser broke; the long search is libFuzzer's (preset fuzz). The same seed makes the same inputs in the same order.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

constexpr std::size_t kMaxInputBytes = 1 << 16;

std::vector<Input> read_corpus(const char* folder) {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
        if (entry.is_regular_file()) paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());  // a seed means the same on every file system
    std::vector<Input> corpus;
    for (const auto& path : paths) {
        std::ifstream file(path, std::ios::binary);
        corpus.emplace_back((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    }
    return corpus;
}

class Changer {
public:
    Changer(const std::vector<Input>& corpus, std::uint64_t seed) : corpus_(corpus), random_(seed) {}

    Input next() {
        Input input = corpus_[below(corpus_.size())];
        if (input.size() > kMaxInputBytes) input.resize(kMaxInputBytes);
        for (std::size_t changes = 1 + below(4); changes > 0; --changes) change(input);
        return input;
    }

private:
    std::size_t below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }

    void change(Input& input) {
        const std::size_t at = below(input.size() + 1);
        const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
        switch (below(6)) {
            case 0:
                if (at < input.size()) input[at] ^= static_cast<std::uint8_t>(1U << below(8));
                return;
            case 1:
                if (at < input.size()) input[at] = static_cast<std::uint8_t>(random_());
                return;
            case 2: input.resize(at); return;
            case 3: {  // a piece of it again
                const std::size_t length = below(std::min<std::size_t>(input.size() - at, 64) + 1);
                const Input piece(place, place + static_cast<std::ptrdiff_t>(length));
                input.insert(place, piece.begin(), piece.end());
                return;
            }
            case 4: {  // the rest of another input
                const Input& other = corpus_[below(corpus_.size())];
                const auto from = other.begin() + static_cast<std::ptrdiff_t>(below(other.size() + 1));
                input.erase(place, input.end());
                input.insert(input.end(), from, other.end());
                if (input.size() > kMaxInputBytes) input.resize(kMaxInputBytes);
                return;
            }
            default: {  // a number at its limit
                static constexpr std::uint64_t kLimits[] = {0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, INT64_MAX, UINT64_MAX};
                const std::uint64_t number = kLimits[below(std::size(kLimits))];
                const std::size_t width = std::size_t{1} << below(4);
                for (std::size_t i = 0; i < width && at + i < input.size(); ++i) {
                    input[at + i] = static_cast<std::uint8_t>(number >> (8 * i));
                }
            }
        }
    }

    const std::vector<Input>& corpus_;
    std::mt19937_64 random_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s FOLDER [SECONDS [SEED]]\n", argv[0]);
        return 2;
    }
    const std::vector<Input> corpus = read_corpus(argv[1]);
    if (corpus.empty()) {
        std::fprintf(stderr, "%s: no input in %s\n", argv[0], argv[1]);
        return 1;
    }
    for (const Input& input : corpus) LLVMFuzzerTestOneInput(input.data(), input.size());
    std::printf("%zu inputs replayed\n", corpus.size());

    const std::chrono::seconds limit(argc > 2 ? std::atoi(argv[2]) : 0);
    const std::uint64_t seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
    if (limit.count() == 0) return 0;
    std::printf("changing them for %lld s, seed %llu\n", static_cast<long long>(limit.count()),
                static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    Changer changer(corpus, seed);
    std::size_t runs = 0;
    for (const auto end = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < end; ++runs) {
        const Input input = changer.next();
        LLVMFuzzerTestOneInput(input.data(), input.size());
    }
    std::printf("%zu changed inputs\n", runs);
    return 0;
}
