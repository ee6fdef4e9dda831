// A model version's sealed files as the engine's source of bytes: verified, decrypted on read, thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "engine/io/weight_source.h"
#include "security/signature/manifest.h"
#include "security/storage/keyring.h"

namespace ostal {

// Owner path of the data key of one file, in the keyring.
std::string model_key_owner(const security::TargetPath& path);
// How a file is called below models/<model>/<version>/.
std::string sealed_name(const std::string& file);

class SealedSource final : public engine::WeightSource {
public:
    // Opens every file of the manifest below `folder` and compares each header with its signed target:
    // length, digest, chunk root, target object, path. Nothing else may lie there but the sealed files and
    // `also`. kIntegrity names the file; kUnavailable while the keyring is sealed.
    static Result<std::unique_ptr<SealedSource>> open(Files& files, const security::Keyring& keyring,
                                                      const std::string& folder,
                                                      const security::ModelManifest& manifest,
                                                      const std::vector<std::string>& also);
    ~SealedSource() override;

    const std::vector<engine::SourceFile>& files() const override;
    // kIntegrity for any byte that does not decrypt; nothing unauthenticated is left in `out`.
    Status read(std::string_view name, std::uint64_t offset, MutableByteSpan out) const override;
    // After a load: no file changed while it was read. kIntegrity.
    Status check_unchanged() const;

private:
    struct State;
    explicit SealedSource(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace ostal
