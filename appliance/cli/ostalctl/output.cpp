#include "appliance/cli/ostalctl/output.h"

#include <algorithm>

namespace ostal::ctl {
namespace {

// A terminal is never driven by data: control characters come out as JSON escapes.
std::string cell(const json::Value* value) {
    if (value == nullptr || value->is_null()) return "-";
    if (value->is_string()) {
        const std::string quoted = json::quote(value->as_string());
        return quoted.substr(1, quoted.size() - 2);
    }
    if (value->is_bool()) return value->as_bool() ? "yes" : "no";
    if (value->is_array()) {
        std::string out;
        for (const json::Value& item : value->as_array()) out += (out.empty() ? "" : ", ") + cell(&item);
        return out.empty() ? "-" : out;
    }
    return json::to_string(*value);
}

std::size_t width(const std::string& text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string table(const json::Array& rows, const std::vector<std::string>& columns) {
    std::vector<std::vector<std::string>> cells(1);
    for (const std::string& column : columns) {
        std::string head = column;
        std::transform(head.begin(), head.end(), head.begin(), [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
        cells[0].push_back(head);
    }
    for (const json::Value& row : rows) {
        cells.emplace_back();
        for (const std::string& column : columns) cells.back().push_back(cell(row.find(column)));
    }
    std::string out;
    for (const auto& row : cells) {
        for (std::size_t c = 0; c < columns.size(); ++c) {
            out += row[c];
            if (c + 1 == columns.size()) break;
            std::size_t widest = 0;
            for (const auto& other : cells) widest = std::max(widest, width(other[c]));
            out.append(widest - width(row[c]) + 2, ' ');
        }
        out += '\n';
    }
    return out;
}

std::string lines(const json::Object& object) {
    std::string out;
    for (const auto& [key, value] : object) out += key + ": " + cell(&value) + "\n";
    return out;
}

}  // namespace ostal::ctl
