#include "appliance/cli/ostal_engine/commands.h"

#include <functional>
#include <ostream>

#include "base/json.h"

namespace ostal::engine_tool {
namespace {

struct Entry {
    Command command;
    std::function<Status(const Arguments&)> work;
};

std::vector<Entry> entries(const Clock& clock, const Terminal& terminal) {
    return {
        {tokenize_command(), [&](const Arguments& a) { return run_tokenize(a, terminal); }},
        {detokenize_command(), [&](const Arguments& a) { return run_detokenize(a, terminal); }},
        {template_command(), [&](const Arguments& a) { return run_template(a, terminal); }},
        {logits_command(), [&](const Arguments& a) { return run_logits(a, terminal); }},
        {generate_command(), [&](const Arguments& a) { return run_generate(a, clock, terminal); }},
        {convert_command(), [&](const Arguments& a) { return run_convert(a, terminal); }},
        {perplexity_command(), [&](const Arguments& a) { return run_perplexity(a, terminal); }},
        {inspect_command(), [&](const Arguments& a) { return run_inspect(a, terminal); }},
        {bench_command(), [&](const Arguments& a) { return run_bench(a, clock, terminal); }},
    };
}

std::string general_help(const std::vector<Entry>& all) {
    std::string out =
        "ostal-engine: the engine on plain model folders, without a daemon\n\n"
        "A model is a folder (config.json with model.safetensors or its shards, or params.json with\n"
        "consolidated.safetensors or its shards, and a tokenizer) or a .gguf file.\n\n";
    for (const Entry& entry : all) {
        std::string line = "  " + std::string(entry.command.name);
        line.resize(14, ' ');
        out += line + std::string(entry.command.summary) + "\n";
    }
    return out + "\nostal-engine COMMAND --help says more. Exit codes: 0 ok, 1 failed, 2 usage.\n";
}

int finish(const Status& done, std::string_view command, const Terminal& terminal) {
    terminal.out.flush();
    if (done && terminal.out.good()) return 0;
    if (done) {
        terminal.err << "ostal-engine: the output cannot be written\n";
        return 1;
    }
    terminal.err << "ostal-engine " << command << ": " << done.error().to_string() << "\n";
    if (done.error().code() != Code::kUsage) return 1;
    terminal.err << "ostal-engine " << command << " --help lists the options\n";
    return 2;
}

}  // namespace

int run(const std::vector<std::string>& words, const Clock& clock, const Terminal& terminal) {
    const std::vector<Entry> all = entries(clock, terminal);
    if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
        (words.empty() ? terminal.err : terminal.out) << general_help(all);
        return words.empty() ? 2 : 0;
    }
    for (const Entry& entry : all) {
        if (entry.command.name != words[0]) continue;
        const std::vector<std::string> rest(words.begin() + 1, words.end());
        for (const std::string& word : rest) {
            if (word != "--help" && word != "-h") continue;
            terminal.out << help_of(entry.command);
            return 0;
        }
        const auto arguments = Arguments::parse(entry.command, rest);
        if (!arguments) return finish(fail(arguments.error()), entry.command.name, terminal);
        return finish(entry.work(*arguments), entry.command.name, terminal);
    }
    terminal.err << "ostal-engine: unknown command " << json::quote(words[0])
                 << "; ostal-engine --help lists the commands\n";
    return 2;
}

}  // namespace ostal::engine_tool
