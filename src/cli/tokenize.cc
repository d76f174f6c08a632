// SPDX-License-Identifier: Apache-2.0
// `planish tokenize`: text to token ids, as text, JSONL or pieces. Token files for training come with the training verbs.
#include <unistd.h>

#include "base/file.h"
#include "cli/input.h"
#include "cli/verbs.h"
#include "model/pretrained.h"

namespace planish {
namespace {

class TokenizeVerb : public Verb {
 public:
  const char* name() const override { return "tokenize"; }
  const char* group() const override { return "make"; }
  const char* summary() const override {
    return "text to token ids (stdin to stdout, plain or JSONL), and back";
  }
  const char* examples() const override {
    return "  echo 'Hello world' | planish tokenize -m MODEL --pieces\n  planish tokenize "
           "--tokenizer tokenizer.json --jsonl < texts.jsonl > ids.jsonl";
  }
  void Declare(OptionSet* options) override {
    options->Text("-m,--model", &model_, "Hugging Face folder or GGUF file");
    options->Text("--tokenizer", &tokenizer_,
                  "tokenizer.json (may be zstd-compressed), instead of a model");
    options->Flag("--jsonl", &jsonl_,
                  "stdin: lines {\"text\": ...}; stdout: lines {\"ids\": [...]}");
    options->Flag("--decode", &decode_,
                  "the other way: lines {\"ids\": [...]} to lines {\"text\": ...}");
    options->Flag("--special", &special_, "add what the tokenizer puts around a text, e.g. BOS");
    options->Flag("--plain", &plain_, "do not match the text of special tokens in the input");
    options->Flag("--pieces", &pieces_, "one token a line: id and text");
    options->Positional("text", &texts_, "texts to encode; without any, stdin");
  }

  ExitCode Run(const OptionSet&) override {
    if (model_.empty() == tokenizer_.empty())
      throw UsageError("expected one of -m MODEL and --tokenizer FILE");
    tokens_ = OpenTokenizer(model_.empty() ? tokenizer_ : model_);
    if (jsonl_ || decode_) {
      LineReader lines(STDIN_FILENO, "stdin", limits::kJsonlLineBytes);
      for (std::string line; lines.Next(&line);) {
        if (!line.empty()) RunLine(line, fmt::format("stdin: line {}", lines.line_number()));
      }
      return ExitCode::kOk;
    }
    if (texts_.empty()) {
      texts_.push_back(ReadStandardInput());
    }
    for (const std::string& text : texts_) Print(Encode(text));
    return ExitCode::kOk;
  }

 private:
  std::vector<TokenId> Encode(const std::string& text) const {
    return tokens_->Encode(text, {.parse_special = !plain_, .add_special = special_});
  }

  void Print(const std::vector<TokenId>& ids) const {
    if (pieces_) {
      for (const TokenId id : ids) fmt::print("{:>8} {}\n", id, Quoted(tokens_->TokenBytes(id)));
      return;
    }
    fmt::print("{}\n", fmt::join(ids, " "));
  }

  void RunLine(const std::string& line, const std::string& where) const {
    const Json json = ParseJson(line, where);
    const JsonReader reader(json, where);
    Json out = Json::MakeObject();
    if (decode_) {
      std::vector<TokenId> ids;
      for (const Json& id : reader.Array("ids")) {
        if (!id.is_integer() || id.AsInt() < 0 || id.AsInt() > INT32_MAX)
          reader.Fail("ids", "token ids");
        ids.push_back(static_cast<TokenId>(id.AsInt()));
      }
      out.Set("text", tokens_->Decode(ids));
    } else {
      Json ids = Json::MakeArray();
      for (const TokenId id : Encode(reader.String("text"))) ids.Append(int64_t{id});
      out.Set("ids", std::move(ids));
    }
    fmt::print("{}\n", DumpJson(out));
  }

  std::string model_, tokenizer_;
  std::vector<std::string> texts_;
  bool jsonl_ = false, decode_ = false, special_ = false, plain_ = false, pieces_ = false;
  std::shared_ptr<const Tokenizer> tokens_;
};

}  // namespace

std::unique_ptr<Verb> MakeTokenize() { return std::make_unique<TokenizeVerb>(); }

}  // namespace planish
