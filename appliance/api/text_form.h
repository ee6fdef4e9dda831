// Choices as plain text: /v1/completions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "appliance/api/answer.h"
#include "appliance/serving/token_texts.h"

namespace ostal::api {

struct TextFormOptions {
    std::vector<std::string> echo;                  // by choice: the prompt's text, given back first; or empty
    std::size_t choices = 1;
    std::shared_ptr<const TokenTexts> token_texts;  // set: log-probabilities are written
};

std::shared_ptr<ChoiceForm> text_form(TextFormOptions options);

}  // namespace ostal::api
