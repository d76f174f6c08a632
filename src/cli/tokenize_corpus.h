// SPDX-License-Identifier: Apache-2.0
// The two jobs of `planish tokenize` that read whole corpora: documents to a token file, and documents to a new tokenizer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/document.h"
#include "text/bpe_train.h"
#include "text/tokenizer.h"

namespace planish {

struct TokenFileJob {
  std::vector<std::string> inputs;
  DocumentOptions documents;
  std::string output;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string tokenizer_name;
  EncodeOptions encode;
  std::optional<TokenId> eos;  // ends every document
};
// Returns a line of statistics. Error(kBadFile) if there is no document at all; then no file is written.
std::string MakeTokenFile(const TokenFileJob& job);

struct TrainBpeJob {
  std::vector<std::string> inputs;
  DocumentOptions documents;
  std::string output;  // folder
  std::string pre_tokenizer;
  BpeTrainOptions options;
  std::string bos, eos, pad;  // for tokenizer_config.json; empty: none
  std::string chat_template;  // file; empty: none
};
// Writes tokenizer.json, tokenizer_config.json and, if given, chat_template.jinja; prints a line of statistics.
void TrainBpeTokenizer(const TrainBpeJob& job);

}  // namespace planish
