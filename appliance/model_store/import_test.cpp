#include "appliance/model_store/import.h"

#include <fcntl.h>

#include "appliance/model_store/content.h"
#include "appliance/model_store/store_fixture.h"
#include "base/thread.h"

namespace ostal {
namespace {

// Every file below a folder with its content: equal snapshots mean that nothing changed.
std::map<std::string, Bytes> contents(const std::string& folder) {
    PosixFiles files;
    std::map<std::string, Bytes> out;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        if (entry.is_regular_file()) out[entry.path()] = *read_file(files, entry.path(), 1U << 30);
    }
    return out;
}

std::vector<std::string> files_below(const std::string& folder) {
    std::vector<std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        if (entry.is_regular_file()) out.push_back(entry.path());
    }
    std::sort(out.begin(), out.end());
    return out;
}

struct ImportTest : ModelStoreTest {
    // What an import may change: models, trust, floors. The database is asked through the store.
    std::map<std::string, Bytes> state_files() const {
        std::map<std::string, Bytes> out = contents(site.folder() + "/models");
        out.merge(contents(site.folder() + "/keystore"));
        out.merge(contents(site.folder() + "/staging"));
        return out;
    }
    void expect_unchanged(const std::map<std::string, Bytes>& before, const std::string& what) {
        ASSERT_EQ(state_files(), before) << what;
        ASSERT_TRUE(site.store->list()->empty()) << what;
        ASSERT_TRUE(site.keyring->list_deks()->empty()) << what;
    }
};

TEST_F(ImportTest, TakesASignedVersionIn) {
    const std::string medium = vendor.sign("medium", "demo", 1);
    std::vector<ImportProgress> progress;
    ImportOptions options;
    options.progress = [&](const ImportProgress& step) {
        progress.push_back(step);
        return true;
    };
    const auto report = site.import(medium, options);
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_EQ(report->anchor, "vendor");
    ASSERT_EQ(report->versions.size(), 1U);
    EXPECT_EQ(progress.back().stage, ImportProgress::Stage::kSealing);
    EXPECT_EQ(progress.back().done_bytes, report->versions[0].total_bytes);

    const auto version = site.store->get("demo", 1);
    ASSERT_TRUE(version);
    EXPECT_EQ(version->state, VersionState::kVerified);
    EXPECT_EQ(version->format, "v3");
    EXPECT_EQ(version->license, "Apache-2.0");
    EXPECT_TRUE(version->is_loadable);
    EXPECT_EQ(version->imported_by, person(1));
    EXPECT_TRUE(files_below(site.folder() + "/staging").empty());
    EXPECT_EQ(site.store->data_keys()->size(), site.keyring->list_deks()->size());

    ASSERT_TRUE(site.approve("demo", 1));
    const auto opened = site.store->open_version("demo", 1);
    ASSERT_TRUE(opened) << opened.error().to_string();
    for (const engine::SourceFile& file : opened->source->files()) {
        Bytes content(file.size_bytes);
        ASSERT_TRUE(opened->source->read(file.name, 0, content));
        EXPECT_EQ(content, *read_file(files, vendor.model(1) + "/" + file.name, 1U << 30)) << file.name;
    }
    EXPECT_FALSE(opened->source->read("other", 0, {}));
    EXPECT_TRUE(opened->source->check_unchanged());
    // What lies on disk is not readable.
    for (const auto& [path, content] : contents(site.folder() + "/models")) {
        if (path.ends_with(".ostw")) {
            EXPECT_EQ(as_text(content).find("tiny"), std::string_view::npos);
        }
    }
}

TEST_F(ImportTest, SealedSourceIsReadByManyThreads) {
    site.serve(vendor.sign("medium", "demo", 1), "demo", 1);
    const auto opened = site.store->open_version("demo", 1);
    ASSERT_TRUE(opened);
    const Bytes whole = *read_file(files, vendor.model(1) + "/model.safetensors", 1U << 30);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
        threads.emplace_back([&, seed] {
            SeededRandom random(seed);
            for (int i = 0; i < 100; ++i) {
                const std::uint64_t offset = random.below(whole.size());
                Bytes piece(random.below(whole.size() - offset) + 1);
                const bool good = opened->source->read("model.safetensors", offset, piece) &&
                                  std::equal(piece.begin(), piece.end(),
                                             whole.begin() + static_cast<std::ptrdiff_t>(offset));
                if (!good) ++wrong;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
}

TEST_F(ImportTest, JoinsPieces) {
    vendor.part_bytes = 5000;
    const std::string medium = vendor.sign("medium", "demo", 1);
    const auto names = files_below(medium);
    EXPECT_TRUE(
        std::any_of(names.begin(), names.end(), [](const auto& name) { return name.ends_with(".part002"); }));
    ASSERT_TRUE(site.import(medium));
    EXPECT_TRUE(site.store->verify_version("demo", 1, {}));
}

// Bytes all over every file (verifier_test alters every byte of metadata), every byte of a small target.
TEST_F(ImportTest, AlteredBytesAreRefusedAndChangeNothing) {
    const std::string medium = vendor.sign("medium", "demo", 1);
    const auto before = state_files();
    for (const std::string& path : files_below(medium)) {
        const Bytes good = *read_file(files, path, 1U << 30);
        const std::size_t step = std::max<std::size_t>(1, good.size() / 20);
        Bytes bad = good;
        for (std::size_t i = 0; i < good.size(); i += step) {
            bad[i] ^= 0x01;
            {
                const auto file = *files.open(path, Files::Open::kReadWrite);
                ASSERT_TRUE(file->pwrite(bad, 0));
            }
            const auto refused = site.import(medium);
            ASSERT_FALSE(refused) << path << " byte " << i;
            ASSERT_EQ(refused.error().code(), Code::kIntegrity)
                << path << " byte " << i << refused.error().to_string();
            bad[i] = good[i];
        }
        ASSERT_TRUE(replace_file(files, path, good));
        expect_unchanged(before, path);
    }
    EXPECT_TRUE(site.import(medium));
}

TEST_F(ImportTest, TruncationsAndExtensionsAreRefused) {
    const std::string medium = vendor.sign("medium", "demo", 1);
    const auto before = state_files();
    for (const std::string& path : files_below(medium)) {
        const Bytes good = *read_file(files, path, 1U << 30);
        const std::size_t step = std::max<std::size_t>(1, good.size() / 10);
        for (std::size_t length = 0; length < good.size(); length += step) {
            fs::resize_file(path, length);
            ASSERT_FALSE(site.import(medium)) << path << " cut to " << length;
            ASSERT_TRUE(replace_file(files, path, good));
        }
        Bytes longer = good;
        longer.push_back('\n');
        ASSERT_TRUE(replace_file(files, path, longer));
        const bool is_white_space_outside = path.ends_with("root.json") || path.ends_with("timestamp.json");
        if (!is_white_space_outside) {
            EXPECT_FALSE(site.import(medium)) << path << " extended";
        }
        ASSERT_TRUE(replace_file(files, path, good));
        expect_unchanged(before, path);
    }
}

TEST_F(ImportTest, ForeignFilesAreRefused) {
    const std::string medium = vendor.sign("medium", "demo", 1);
    const auto before = state_files();
    const auto refused = [&](std::string_view reason, const std::string& what) {
        const auto result = site.import(medium);
        ASSERT_FALSE(result) << what;
        EXPECT_EQ(result.error().code(), Code::kIntegrity) << what;
        if (!reason.empty()) {
            EXPECT_EQ(result.error().reason(), reason) << what;
        }
        expect_unchanged(before, what);
    };
    std::vector<std::string> targets;
    for (const std::string& path : files_below(medium)) {
        if (path.find("/targets/") != std::string::npos) targets.push_back(path);
        const std::string aside = folder.at("aside");
        fs::rename(path, aside);
        refused(path.ends_with("1.root.json") ? "" : "missing", "without " + path);
        fs::create_symlink(aside, path);
        refused("link", "symbolic link " + path);
        fs::remove(path);
        fs::create_hard_link(aside, path);
        refused("link", "hard link " + path);
        fs::remove(path);
        fs::rename(aside, path);
    }
    for (const std::string name : {"/extra", "/metadata/notes.txt", "/metadata/2.targets.json"}) {
        ASSERT_TRUE(replace_file(files, medium + name, as_bytes("{}")));
        refused("extra", name);
        fs::remove(medium + name);
    }
    const std::string twin =
        targets[0].substr(0, targets[0].rfind('/')) + "/" + std::string(64, 'a') + ".README.md";
    ASSERT_TRUE(replace_file(files, twin, as_bytes("x")));
    refused("extra", "a target that is not listed");
    fs::remove(twin);
    fs::rename(targets[0], folder.at("aside"));
    fs::rename(targets[1], targets[0]);
    fs::rename(folder.at("aside"), targets[1]);
    refused("mismatch", "two targets swapped");
}

TEST_F(ImportTest, WhoSignedItMatters) {
    const std::string medium = vendor.sign("medium", "demo", 1);
    Vendor stranger(files, clock, folder, "stranger");
    const std::string foreign = stranger.sign("foreign", "demo", 1);
    const auto unknown = site.import(foreign);
    expect_refused(unknown, Code::kIntegrity, "unknown_key");
    EXPECT_NE(unknown.error().to_string().find(security::key_id_of(stranger.key().public_key())),
              std::string::npos);
    EXPECT_NE(unknown.error().to_string().find(security::key_id_of(vendor.key().public_key())),
              std::string::npos);

    // A second anchor is trusted, but a name belongs to the one that signed it first.
    site.trust(stranger);
    site.open();
    ASSERT_TRUE(site.import(medium));
    expect_refused(site.import(stranger.sign("foreign2", "demo", 2)), Code::kConflict, "other_anchor");
    ASSERT_TRUE(site.import(stranger.sign("foreign3", "other", 1)));
    EXPECT_EQ(site.store->list()->size(), 2U) << "two models side by side";
}

TEST_F(ImportTest, ExpiryIsJudgedAtImportOnly) {
    const std::string medium = vendor.sign("medium", "demo", 1);
    const std::string later = vendor.sign("later", "demo", 2);
    site.serve(medium, "demo", 1);
    clock.advance_us(400 * 86'400'000'000LL);
    expect_refused(site.import(later), Code::kIntegrity, "expired");
    EXPECT_TRUE(site.store->open_version("demo", 1));
}

TEST_F(ImportTest, OlderMetadataIsARollback) {
    const std::string first = vendor.sign("first", "demo", 1);
    const std::string second = vendor.sign("second", "demo", 2);
    ASSERT_TRUE(site.import(second));
    expect_refused(site.import(first), Code::kIntegrity, "metadata_rollback");
    site.open();
    expect_refused(site.import(first), Code::kIntegrity, "metadata_rollback");
    // The same medium again is no rollback, and changes nothing.
    const auto again = site.import(second);
    ASSERT_TRUE(again) << again.error().to_string();
    EXPECT_EQ(again->versions[0].outcome, ImportedVersion::Outcome::kAdmittedAgain);
}

TEST_F(ImportTest, BelowTheFloorIsRefusedByBothNumbers) {
    site.serve(vendor.sign("three", "demo", 3), "demo", 3);
    const auto refused = site.import(vendor.sign("two", "demo", 2));
    expect_refused(refused, Code::kIntegrity, "below_floor");
    EXPECT_NE(refused.error().to_string().find("version 2"), std::string::npos);
    EXPECT_NE(refused.error().to_string().find("version 3"), std::string::npos);
}

TEST_F(ImportTest, OneVersionHasOneContent) {
    ASSERT_TRUE(site.import(vendor.sign("one", "demo", 1, 1)));
    expect_refused(site.import(vendor.sign("another", "demo", 1, 2)), Code::kConflict, "other_content");
}

TEST_F(ImportTest, WrongChunkRootIsRefused) {
    const std::string medium = vendor.sign("medium", "demo", 1);
    auto repository = *bundle::read_repository(files, medium);
    std::vector<security::Target> targets = security::parse_targets(*repository.targets)->targets;
    targets[0].custom.chunk_root = std::string(64, '0');
    targets[0] =
        security::make_target(targets[0].path, targets[0].length, targets[0].sha256, targets[0].custom);
    const security::MetadataHead head{9, clock.wall_now_us() + bundle::kReleaseLifeUs};
    ASSERT_TRUE(bundle::make_release(repository, targets, {head, head, head}, {&vendor.key()}));
    ASSERT_TRUE(bundle::write_repository(files, repository));
    const auto before = state_files();
    expect_refused(site.import(medium), Code::kIntegrity, "mismatch");
    expect_unchanged(before, "chunk root");
}

// Signed, and still not a model: refused by the look into the copies.
TEST_F(ImportTest, SignedButUnreadableIsRefused) {
    const auto sign_file = [&](const std::string& name, std::string_view content) {
        const std::string medium = folder.at("raw");
        fs::remove_all(medium);
        security::ContentHasher hasher;
        hasher.update(as_bytes(content));
        const auto digest = hasher.finish();
        const std::string sha256 = to_hex(digest.sha256);
        security::TargetCustom custom{"model", "raw", 1,  std::string(security::layout_of(name)),
                                      "v3",    "",    "", to_hex(digest.merkle_root)};
        const auto target = security::make_target({"raw", 1, name}, content.size(), sha256, custom);
        const std::string path = medium + "/" + target.path.on_medium(sha256);
        EXPECT_TRUE(make_directories(files, path.substr(0, path.rfind('/'))));
        EXPECT_TRUE(replace_file(files, path, as_bytes(content)));
        bundle::Repository repository;
        repository.folder = medium;
        repository.roots = {vendor.root()};
        const security::MetadataHead head{50, clock.wall_now_us() + bundle::kReleaseLifeUs};
        EXPECT_TRUE(bundle::make_release(repository, {target}, {head, head, head}, {&vendor.key()}));
        EXPECT_TRUE(bundle::write_repository(files, repository));
        return medium;
    };
    using namespace std::string_view_literals;
    for (const auto& [name, content] :
         {std::pair{"model.safetensors", "\x80\x02pickle"sv},
          std::pair{"model.safetensors", "PK\x03\x04zip"sv},
          std::pair{"README.md",
                    "\x7f"
                    "ELF and so on"sv},
          std::pair{"model.gguf", "not gguf at all"sv}, std::pair{"config.json", "MZ"sv},
          std::pair{"tokenizer.model", "text"sv}}) {
        expect_refused(site.import(sign_file(name, content)), Code::kUnsupported, "file_kind");
    }
    const auto unreadable = site.import(sign_file("config.json", "{\"model_type\": \"gpt2\"}"));
    ASSERT_FALSE(unreadable);
    EXPECT_EQ(unreadable.error().reason(), "unreadable_model");
    EXPECT_TRUE(site.store->list()->empty());
}

TEST_F(ImportTest, FollowsRootsAndForgetsDroppedKeys) {
    const std::string first = vendor.sign("medium", "demo", 1);
    site.serve(first, "demo", 1);
    vendor.rotate();
    // The medium of before, with newer metadata by the new key and no files of the old version.
    fs::copy(first, folder.at("next"), fs::copy_options::recursive);
    vendor.sign("next", "demo", 2);
    fs::remove_all(folder.at("next") + "/targets/models/demo/1");
    fs::copy(folder.at("next"), folder.at("bare"), fs::copy_options::recursive);
    fs::remove_all(folder.at("bare") + "/targets/models/demo");

    // Another model moves the anchor to the new root: what the old key alone signed may not be loaded any
    // more.
    Vendor& same = vendor;
    const std::string elsewhere = same.sign("elsewhere", "other", 1);
    ASSERT_TRUE(site.import(elsewhere));
    EXPECT_EQ(site.store->trust().newest("vendor")->metadata.version, 2U);
    expect_refused(site.store->open_version("demo", 1), Code::kIntegrity, "unknown_key");
    // Metadata alone that lists the same admits it again; nothing is encrypted anew.
    auto repository = *bundle::read_repository(files, folder.at("bare"));
    const auto listed = security::parse_targets(*repository.targets)->targets;
    const security::MetadataHead head{40, clock.wall_now_us() + bundle::kReleaseLifeUs};
    ASSERT_TRUE(bundle::make_release(repository, listed, {head, head, head}, {&vendor.key()}));
    ASSERT_TRUE(bundle::write_repository(files, repository));
    const auto keys = *site.store->data_keys();
    const auto report = site.import(folder.at("bare"));
    ASSERT_TRUE(report) << report.error().to_string();
    ASSERT_EQ(report->versions.size(), 1U);
    EXPECT_EQ(report->versions[0].outcome, ImportedVersion::Outcome::kAdmittedAgain);
    EXPECT_EQ(*site.store->data_keys(), keys);
    EXPECT_TRUE(site.store->open_version("demo", 1));
    site.open();
    EXPECT_TRUE(site.store->alarms().empty());
    EXPECT_TRUE(site.store->open_version("demo", 1));
}

TEST_F(ImportTest, SelectsFromALargerMedium) {
    vendor.sign("medium", "one", 1);
    const std::string medium = vendor.sign("medium", "two", 1, 2);
    ImportOptions options;
    options.only_model = "two";
    ASSERT_TRUE(site.import(medium, options));
    EXPECT_FALSE(site.store->get("one", 1));
    options.only_model = "three";
    expect_refused(site.import(medium, options), Code::kNotFound, "nothing_to_import");
    ASSERT_TRUE(site.import(medium));
    EXPECT_TRUE(site.store->get("one", 1));
}

TEST_F(ImportTest, CanBeStopped) {
    const std::string medium = vendor.sign("medium", "demo", 1);
    const auto before = state_files();
    for (int stop_at = 1; stop_at < 12; ++stop_at) {
        int calls = 0;
        ImportOptions options;
        options.progress = [&](const ImportProgress&) { return ++calls < stop_at; };
        const auto result = site.import(medium, options);
        if (result) break;
        EXPECT_EQ(result.error().code(), Code::kCancelled);
        expect_unchanged(before, "stopped");
    }
    EXPECT_TRUE(site.import(medium) || site.store->get("demo", 1));
}

TEST_F(ImportTest, OneImportAtATime) {
    const std::string medium = vendor.sign("medium", "demo", 1);
    ImportOptions options;
    std::optional<Code> inner;
    options.progress = [&](const ImportProgress&) {
        if (!inner) {
            const auto second = site.import(medium);
            inner = second ? Code::kInternal : second.error().code();
        }
        return true;
    };
    ASSERT_TRUE(site.import(medium, options));
    EXPECT_EQ(inner, Code::kConflict);
}

TEST_F(ImportTest, AWorkerCannotAdmitAnything) {
    const std::string medium = vendor.sign("medium", "demo", 1);
    ImportOptions options;
    options.runner = [](const std::string&, std::span<const int>) -> Result<std::string> {
        return fail(Code::kUnavailable, "no worker");
    };
    EXPECT_EQ(site.import(medium, options).error().code(), Code::kUnavailable);
    // One that says yes to everything: the daemon's own check refuses what is not signed.
    const std::string path = files_below(medium + "/metadata").back();
    Bytes altered = *read_file(files, path, 1U << 20);
    altered[altered.size() / 2] ^= 1;
    ASSERT_TRUE(replace_file(files, path, altered));
    options.runner = [](const std::string&, std::span<const int>) -> Result<std::string> {
        return std::string(R"({"ok":{"anchor":"vendor","root_version":1,"versions":[]}})");
    };
    EXPECT_EQ(site.import(medium, options).error().code(), Code::kIntegrity);
}

TEST_F(ImportTest, PassedDescriptorsAreCheckedLikeFiles) {
    const std::string medium = vendor.sign("medium", "demo", 1);
    const auto open_all = [&] {
        std::vector<std::pair<std::string, int>> out;
        for (const std::string& path : files_below(medium)) {
            out.emplace_back(path.substr(medium.size() + 1), ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        }
        return out;
    };
    auto descriptors = open_all();
    descriptors.emplace_back("metadata/extra", ::open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(Medium::adopt(descriptors).error().reason(), "link") << "no regular file";
    descriptors = open_all();
    descriptors[0].first = "metadata/../../etc/passwd";
    EXPECT_EQ(Medium::adopt(descriptors).error().reason(), "extra");
    descriptors = open_all();
    descriptors[1].first = "metadata/1.ROOT.json";
    EXPECT_EQ(Medium::adopt(descriptors).error().reason(), "malformed");
    auto adopted = Medium::adopt(open_all());
    ASSERT_TRUE(adopted);
    ImportOptions options;
    options.runner = run_in_process;
    EXPECT_TRUE(import_medium(*site.store, *adopted, options));
}

// Every call fails once, as an error and as a power cut: afterwards the old or the new version is there,
// whole.
TEST_F(ImportTest, EveryFailingCallLeavesOldOrNew) {
    site.serve(vendor.sign("one", "demo", 1), "demo", 1);
    const std::string medium = vendor.sign("two", "demo", 2, 2);
    for (const bool crash : {false, true}) {
        std::uint64_t failures = 0;
        for (std::uint64_t call = 1;; ++call) {
            FaultyFiles faulty(files);
            site.open(&faulty);
            faulty.fail_at(call, call % 2 == 0 ? ENOSPC : EIO, crash);
            const auto result = site.import(medium);
            const bool has_failed = faulty.has_failed();
            site.open();
            ASSERT_TRUE(site.store->open_version("demo", 1)) << "call " << call;
            ASSERT_EQ(site.serving("demo"), 1U);
            const auto second = site.store->get("demo", 2);
            if (second && second->state != VersionState::kRetired) {
                ASSERT_EQ(second->state, VersionState::kVerified) << "call " << call;
                ASSERT_TRUE(site.store->verify_version("demo", 2, {})) << "call " << call;
                ASSERT_TRUE(site.store->retire("demo", 2));
            } else {
                ASSERT_FALSE(result) << "call " << call;
            }
            ASSERT_TRUE(files_below(site.folder() + "/staging").empty());
            for (const std::string& alarm : site.store->alarms()) {
                ASSERT_NE(alarm.find("metadata seen"), std::string::npos) << alarm;
            }
            if (!has_failed) break;
            ++failures;
            if (!crash && !result && call % 2 == 0) {
                ASSERT_EQ(result.error().code(), Code::kNoSpace) << result.error().to_string();
            }
        }
        EXPECT_GT(failures, 40U);
    }
}

}  // namespace
}  // namespace ostal
