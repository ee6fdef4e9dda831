// What the step loop needs of a model: one step. Engine::load gives it forward() over the loaded weights;
// tests of the loop give it a function of the tokens.
#pragma once

#include "engine/model/batch.h"
#include "engine/model/mixtral.h"

namespace ostal::engine {

// Called by the scheduler thread alone.
class StepModel {
public:
    virtual ~StepModel() = default;
    // Once, before the first step.
    virtual void attach_thread() = 0;
    // What the batch wants; valid until the next call.
    virtual StepOutput forward(const Batch& batch) = 0;
};

}  // namespace ostal::engine
