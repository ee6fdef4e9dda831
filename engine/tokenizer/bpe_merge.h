// The merging step of byte-pair encoding (Sennrich et al. 2016, algorithm 1): of all neighbouring symbols
// the best-ranked pair is joined, the leftmost among equals, until none is left. O(n log n) with a heap of
// candidate pairs and a linked list of symbols, as SentencePiece and Hugging Face's tokenizers do it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/request.h"

namespace ostal::engine {

struct Symbol {
    std::int32_t prev = -1;
    std::int32_t next = -1;
    std::uint32_t begin = 0;  // bytes [begin, begin + size) of the text
    std::uint32_t size = 0;   // 0: joined into an earlier symbol
    TokenId id = -1;          // -1: not in the vocabulary
    bool frozen = false;      // never merged
};

struct Merge {
    double rank = 0;  // lower is better
    TokenId id = -1;  // of the joined symbol
};

// Links symbols[i] to symbols[i + 1] and merges; afterwards symbols[0] and its `next`s are the result.
// lookup(left, right) -> std::optional<Merge>.
template <typename Lookup>
void merge_symbols(std::vector<Symbol>& symbols, Lookup&& lookup) {
    struct Candidate {
        double rank;
        std::int32_t left;
        std::int32_t right;
        std::uint32_t size;  // of both together; another size now means the candidate is stale
        TokenId id;
    };
    const auto worse = [](const Candidate& a, const Candidate& b) {
        return a.rank > b.rank || (a.rank == b.rank && a.left > b.left);
    };
    const auto at = [&](std::int32_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };
    const auto candidate = [&](std::int32_t left, std::int32_t right) -> std::optional<Candidate> {
        if (left < 0 || right < 0 || at(left).frozen || at(right).frozen) return std::nullopt;
        const std::optional<Merge> merge = lookup(at(left), at(right));
        if (!merge) return std::nullopt;
        return Candidate{merge->rank, left, right, at(left).size + at(right).size, merge->id};
    };

    const auto count = static_cast<std::int32_t>(symbols.size());
    std::vector<Candidate> heap;
    for (std::int32_t i = 0; i < count; ++i) {
        at(i).prev = i - 1;
        at(i).next = i + 1 < count ? i + 1 : -1;
    }
    for (std::int32_t i = 0; i + 1 < count; ++i) {
        if (const auto c = candidate(i, i + 1)) heap.push_back(*c);
    }
    std::make_heap(heap.begin(), heap.end(), worse);
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end(), worse);
        const Candidate best = heap.back();
        heap.pop_back();
        Symbol& left = at(best.left);
        Symbol& right = at(best.right);
        if (left.size == 0 || right.size == 0 || left.size + right.size != best.size) continue;
        left.size = best.size;
        left.id = best.id;
        left.next = right.next;
        if (right.next >= 0) at(right.next).prev = best.left;
        right.size = 0;
        for (const auto& c : {candidate(left.prev, best.left), candidate(best.left, left.next)}) {
            if (!c) continue;
            heap.push_back(*c);
            std::push_heap(heap.begin(), heap.end(), worse);
        }
    }
}

}  // namespace ostal::engine
