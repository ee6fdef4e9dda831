// For tests: a vendor with a key who signs bundles of a tiny model, and an appliance's state folder.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "appliance/cli/ostal_bundle/create.h"
#include "appliance/cli/ostal_bundle/root.h"
#include "appliance/model_store/import.h"
#include "appliance/model_store/store.h"
#include "security/storage/schema.h"
#include "tests/support/tiny_model.h"

namespace ostal {

namespace fs = std::filesystem;

// A folder of its own, in memory where the system has such a place: these tests sync a great deal.
class TestFolder {
public:
    TestFolder() {
        const bool in_memory = ::access("/dev/shm", W_OK) == 0;
        path_ = (in_memory ? std::string("/dev/shm/") : ::testing::TempDir()) + "ostal-models-XXXXXX";
        if (::mkdtemp(path_.data()) == nullptr) std::abort();
    }
    ~TestFolder() { fs::remove_all(path_); }
    TestFolder(const TestFolder&) = delete;
    TestFolder& operator=(const TestFolder&) = delete;
    std::string at(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

// Signs bundles under one anchor, with one key for all roles.
class Vendor {
public:
    Vendor(PosixFiles& files, const Clock& clock, const TestFolder& folder, const std::string& name)
        : files_(files),
          clock_(clock),
          folder_(folder),
          name_(name),
          random_(std::hash<std::string>{}(name)),
          key_(security::Ed25519PrivateKey::generate(random_)) {
        bundle::RootOptions options;
        options.keys = {&key_};
        root_ = bundle::make_root(clock, options)->file;
    }
    // A model folder whose weights depend on `seed`.
    std::string model(std::uint64_t seed) const {
        const std::string path = folder_.at("model-" + std::to_string(seed));
        if (fs::exists(path)) return path;
        test::TinyModelSpec spec;
        spec.architecture = "llama";
        spec.layers = 1;
        spec.dim = 16;
        spec.heads = 2;
        spec.kv_heads = 1;
        spec.head_dim = 8;
        spec.ffn = 16;
        spec.seed = seed;
        fs::create_directory(path);
        test::TinyModel::write(test::TinyModel(spec).folder(), path);
        EXPECT_TRUE(replace_file(files_, path + "/README.md", as_bytes("A tiny model.")));
        return path;
    }
    // Adds a version to the medium; the path of the medium.
    std::string sign(const std::string& medium, const std::string& model_name, std::uint64_t version,
                     std::uint64_t seed = 1) {
        bundle::CreateOptions options;
        options.model_path = model(seed);
        options.name = model_name;
        options.version = version;
        options.out = folder_.at(medium);
        options.keys = {&key_};
        options.roots = {root_};
        options.roots.insert(options.roots.end(), more_roots_.begin(), more_roots_.end());
        options.format = "v3";
        options.license = "Apache-2.0";
        options.metadata_version = ++metadata_version_;
        options.part_bytes = part_bytes;
        const auto made = bundle::create_bundle(files_, clock_, options);
        EXPECT_TRUE(made) << made.error().to_string();
        return options.out;
    }
    // A new key for every role; the old one agrees.
    void rotate() {
        auto next = security::Ed25519PrivateKey::generate(random_);
        bundle::RootOptions options;
        options.keys = {&key_, &next};
        options.previous = more_roots_.empty() ? root_ : more_roots_.back();
        for (auto& holders : options.holders) holders = {next.public_key()};
        const auto made = bundle::make_root(clock_, options);
        EXPECT_TRUE(made && made->is_complete);
        more_roots_.push_back(made->file);
        key_ = std::move(next);
    }
    const std::string& name() const { return name_; }
    const Bytes& root() const { return root_; }
    const security::Ed25519PrivateKey& key() const { return key_; }
    std::uint64_t part_bytes = bundle::kDefaultPartBytes;

private:
    PosixFiles& files_;
    const Clock& clock_;
    const TestFolder& folder_;
    std::string name_;
    SeededRandom random_;
    security::Ed25519PrivateKey key_;
    Bytes root_;
    std::vector<Bytes> more_roots_;
    std::uint64_t metadata_version_ = 0;
};

inline security::Id person(std::uint8_t number) {
    security::Id id{};
    id[0] = number;
    return id;
}
inline Status healthy(const std::string&, std::uint64_t) { return {}; }
inline Status broken(const std::string&, std::uint64_t) {
    return fail(Code::kInternal, "the model answers nonsense");
}

// An appliance's state folder, with its keystore, database and store.
class Site {
public:
    Site(PosixFiles& files, const Clock& clock, const std::string& folder)
        : files_(files), clock_(clock), folder_(folder) {
        for (const std::string name : {"", "/db", "/keystore", "/trust.d"})
            fs::create_directory(folder + name);
        keyring = *security::Keyring::create({files, clock, random_}, folder, slot(), "test");
        open_database();
    }
    void trust(const Vendor& vendor) {
        ASSERT_TRUE(
            replace_file(files_, folder_ + "/trust.d/" + vendor.name() + ".root.json", vendor.root()));
    }
    // Opens the store again, as after a start; through `files` when given.
    ModelStore& open(Files* files = nullptr) {
        store.reset();
        auto opened = ModelStore::open(seams(files));
        EXPECT_TRUE(opened) << opened.error().to_string();
        store = std::move(*opened);
        return *store;
    }
    ModelStoreSeams seams(Files* files = nullptr) {
        return {files != nullptr ? *files : files_,
                clock_,
                random_,
                log_,
                *database,
                *keyring,
                folder_,
                folder_ + "/trust.d"};
    }
    void open_database() {
        database.reset();
        database = *security::Database::open(
            files_, clock_, {folder_ + "/db/ostal.db", security::ostal_migrations(), "", 5000});
    }
    Result<ImportReport> import(const std::string& medium, const ImportOptions& given = {}) {
        ImportOptions options = given;
        if (!options.runner) options.runner = run_in_process;
        options.imported_by = person(1);
        OSTAL_TRY(const Medium opened, Medium::open_folder(medium));
        return import_medium(*store, opened, options);
    }
    Status approve(const std::string& model, std::uint64_t version) {
        OSTAL_TRY(const ModelVersion found, store->get(model, version));
        OSTAL_TRYV(store->approve(model, version, found.manifest_sha256, person(2), 1));
        return {};
    }
    // Imports, approves, activates: the version is confirmed and serves.
    void serve(const std::string& medium, const std::string& model, std::uint64_t version) {
        const auto imported = import(medium);
        ASSERT_TRUE(imported) << imported.error().to_string();
        ASSERT_TRUE(approve(model, version));
        const auto active = store->activate(model, version, person(1), 1, healthy);
        ASSERT_TRUE(active) << active.error().to_string();
    }
    std::uint64_t serving(const std::string& model) {
        const auto found = store->serving(model);
        EXPECT_TRUE(found);
        return found && *found ? (*found)->version : 0;
    }
    VersionState state(const std::string& model, std::uint64_t version) {
        return store->get(model, version)->state;
    }
    const std::string& folder() const { return folder_; }

    std::unique_ptr<security::Keyring> keyring;
    std::unique_ptr<security::Database> database;
    std::unique_ptr<ModelStore> store;

private:
    static security::SlotSecret slot() {
        return security::SlotSecret::key_file(security::SecretBytes::copy_of(Bytes(32, 7)));
    }
    PosixFiles& files_;
    const Clock& clock_;
    std::string folder_;
    SeededRandom random_{5};
    NullLog log_;
};

struct ModelStoreTest : ::testing::Test {
    PosixFiles files;
    ManualClock clock{1'800'000'000'000'000};
    TestFolder folder;
    Vendor vendor{files, clock, folder, "vendor"};
    Site site{files, clock, folder.at("state")};

    void SetUp() override {
        site.trust(vendor);
        site.open();
    }
    template <typename T>
    static void expect_refused(const Result<T>& result, Code code, std::string_view reason) {
        ASSERT_FALSE(result);
        EXPECT_EQ(code_name(result.error().code()), code_name(code)) << result.error().to_string();
        EXPECT_EQ(result.error().reason(), reason) << result.error().to_string();
    }
};

}  // namespace ostal
