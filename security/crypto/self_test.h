// Known-answer tests of every primitive, for the daemon's start and `ostalctl
// doctor`.
#pragma once

#include "base/result.h"

namespace ostal::security {

// Makes the libraries ready in this process (idempotent, thread-safe; the
// wrappers call it themselves). A sandboxed worker calls it before its filter
// closes getrandom and open.
void init_crypto();

// SHA-256, HMAC, HKDF, AES-256-GCM, XChaCha20-Poly1305, Ed25519, X25519,
// Argon2id against known answers, and that altered input is refused. A few
// milliseconds. kIntegrity naming the first primitive that fails: the daemon
// does not start then.
Status self_test();

}  // namespace ostal::security
