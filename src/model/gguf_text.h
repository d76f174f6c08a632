// SPDX-License-Identifier: Apache-2.0
// Tokenizer keys of a GGUF file (tokenizer.ggml.*) and back.
#pragma once

#include "model/gguf_map.h"
#include "text/tokenizer.h"

namespace planish {

GgufVocabulary VocabularyFromGguf(const GgufFile& file);
GgufMetadata VocabularyToGguf(const GgufVocabulary& vocabulary);

}  // namespace planish
