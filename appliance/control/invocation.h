// One call of a verb.
#pragma once

#include "appliance/control/operations.h"

namespace ostal {

struct Operations::Invocation {
    const json::Object& args;
    std::vector<Descriptor> descriptors;
    api::Caller caller;
    std::shared_ptr<Vault> vault;  // not null for verbs that need the unsealed appliance
    Channel& channel;

    void progress(const std::string& text) {
        (void)channel.send(json::Object{{"progress", json::Object{{"text", text}}}});
    }
    Result<std::string> text(std::string_view name) const { return json::string_member(args, name); }
    // A list of strings; an absent member is empty.
    Result<std::vector<std::string>> texts(std::string_view name) const;
    Result<security::SlotSecret> slot_secret() const;
    Result<security::Project> project() const;  // of the member "project", in the caller's tenant
};

struct Operations::Verb {
    std::string_view name;
    std::optional<security::Permission> permission;  // none: whoever may use the socket
    enum class Needs { kNothing, kUnsealed } needs;
    bool changes;  // recorded before and after
    Result<json::Value> (Operations::*run)(Invocation&);
    // The name of what it acts on, for the record.
    std::string_view object_member;
};

}  // namespace ostal
