// The words of ostal-engine and what they do.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "appliance/cli/ostal_engine/command_line.h"
#include "base/clock.h"
#include "base/result.h"

namespace ostal::engine_tool {

struct Terminal {
    std::istream& in;
    std::ostream& out;
    std::ostream& err;
};

// Runs one command; the exit code: 0 ok, 1 failed, 2 usage. Results go to `out`, errors to `err`.
int run(const std::vector<std::string>& words, const Clock& clock, const Terminal& terminal);

// One command each: its words and options, and its work.
Command tokenize_command();
Command detokenize_command();
Command template_command();
Command logits_command();
Command generate_command();
Command bench_command();
Command convert_command();
Command inspect_command();
Command perplexity_command();

Status run_tokenize(const Arguments& arguments, const Terminal& terminal);
Status run_detokenize(const Arguments& arguments, const Terminal& terminal);
Status run_template(const Arguments& arguments, const Terminal& terminal);
Status run_logits(const Arguments& arguments, const Terminal& terminal);
Status run_generate(const Arguments& arguments, const Clock& clock, const Terminal& terminal);
Status run_convert(const Arguments& arguments, const Terminal& terminal);
Status run_inspect(const Arguments& arguments, const Terminal& terminal);
Status run_perplexity(const Arguments& arguments, const Terminal& terminal);
Status run_bench(const Arguments& arguments, const Clock& clock, const Terminal& terminal);

}  // namespace ostal::engine_tool
