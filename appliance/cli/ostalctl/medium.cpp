#include "appliance/cli/ostalctl/medium.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/file.h"

namespace ostal::ctl {
namespace {

constexpr int kMaxDepth = 8;

Status collect(PosixFiles& files, const std::string& folder, const std::string& relative, int depth,
               std::vector<MediumFile>& out) {
    if (depth > kMaxDepth) return fail(Code::kInvalidArgument, folder + " is nested too deep for a bundle");
    OSTAL_TRY(const auto names, files.list_directory(join_path(folder, relative)));
    for (const std::string& name : names) {
        const std::string path = relative.empty() ? name : relative + "/" + name;
        const std::string full = join_path(folder, path);
        OSTAL_TRY(const FileInfo info, files.info(full));
        if (info.kind == FileInfo::Kind::kDirectory) {
            OSTAL_TRYV(collect(files, folder, path, depth + 1, out));
            continue;
        }
        if (info.kind != FileInfo::Kind::kRegular) {
            return fail(Code::kInvalidArgument, full + " is neither a file nor a folder: a bundle holds nothing else");
        }
        if (out.size() >= Channel::kMaxDescriptors) {
            return fail(Code::kTooLarge, folder + " holds more than " + std::to_string(Channel::kMaxDescriptors) + " files");
        }
        Descriptor descriptor(::open(full.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
        if (descriptor.get() < 0) return fail(errno_error(errno, "cannot open " + full));
        out.push_back({path, std::move(descriptor)});
    }
    return {};
}

}  // namespace

Result<std::vector<MediumFile>> open_medium(const std::string& folder) {
    PosixFiles files;
    std::vector<MediumFile> out;
    OSTAL_TRYV(collect(files, folder, "", 0, out));
    std::sort(out.begin(), out.end(), [](const MediumFile& a, const MediumFile& b) { return a.path < b.path; });
    return out;
}

}  // namespace ostal::ctl
