// SPDX-License-Identifier: Apache-2.0
// `planish tokenize`: text to token ids, as text, JSONL or pieces; documents to a token file for training (-o FILE); documents
// to a new tokenizer (--train-bpe N -o FOLDER).
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "cli/input.h"
#include "cli/tokenize_corpus.h"
#include "cli/verbs.h"
#include "model/pretrained.h"

namespace planish {
namespace {

// \n, \r, \t and \\ as in C.
std::string Unescaped(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const char next = ++i < text.size() ? text[i] : '\0';
    if (next == 'n')
      out += '\n';
    else if (next == 'r')
      out += '\r';
    else if (next == 't')
      out += '\t';
    else if (next == '\\')
      out += '\\';
    else
      throw UsageError(
          "--document-separator: {} has an unknown escape, expected \\n, \\r, \\t or \\\\",
          Quoted(text));
  }
  return out;
}

class TokenizeVerb : public Verb {
 public:
  const char* name() const override { return "tokenize"; }
  const char* group() const override { return "make"; }
  const char* summary() const override {
    return "text to token ids and back; corpora to token files; trains tokenizers";
  }
  const char* examples() const override {
    return "  echo 'Hello world' | planish tokenize -m MODEL --pieces\n"
           "  planish tokenize --tokenizer tokenizer.json --jsonl < texts.jsonl > ids.jsonl\n"
           "  planish tokenize docs.jsonl.zst folder/ --tokenizer MODEL -o corpus.tokens\n"
           "  planish tokenize corpus.txt --document-separator '\\n\\n' --train-bpe 8192 "
           "--special-tokens '<|endoftext|>,<pad>' -o my-tokenizer";
  }
  void Declare(OptionSet* options) override {
    options->Text("-m,--model", &model_, "Hugging Face folder or GGUF file");
    options->Text("--tokenizer", &tokenizer_,
                  "tokenizer.json (may be zstd-compressed), a folder with one, or a model");
    options->Flag("--jsonl", &jsonl_,
                  "stdin: lines {\"text\": ...}; stdout: lines {\"ids\": [...]}");
    options->Flag("--decode", &decode_,
                  "the other way: lines {\"ids\": [...]} to lines {\"text\": ...}");
    options->Flag("--special", &special_, "add what the tokenizer puts around a text, e.g. BOS");
    options->Flag("--plain", &plain_, "do not match the text of special tokens in the input");
    options->Flag("--pieces", &pieces_, "one token a line: id and text");
    options->Positional("text", &texts_,
                        "texts to encode (without any, stdin); with -o: files and folders of "
                        "documents, - for stdin");
    options->Group("Corpora");
    options->Text("-o,--output", &output_,
                  "token file to write from the documents; with --train-bpe: folder");
    options->Choice("--format", &format_, {"auto", "jsonl", "text"},
                    "of the documents (also as zstd); auto: .jsonl .ndjson .json, else text");
    options->Text("--field", &field_, "of a JSONL line that holds the text");
    options->Text(
        "--document-separator", &separator_,
        "cuts text files into documents, e.g. '\\n\\n' (blank lines); else a file is one");
    options->Bytes("--max-document", &max_document_,
                   "longest line or document; longer ones are dropped");
    options->Flag("--strict", &strict_, "a damaged or unreadable document ends the run (status 3)");
    options->Flag("--match-special", &match_special_,
                  "with -o, special tokens are matched in documents only if this is given");
    options->Text("--eos", &eos_, "token that ends each document, instead of the tokenizer's own");
    options->Flag("--no-eos", &no_eos_, "end documents without a token");
    options->Group("Training of a tokenizer");
    options->Int("--train-bpe", &vocab_size_, 0, static_cast<int64_t>(limits::kVocabSize),
                 "learn a byte-level BPE vocabulary of so many tokens from the documents");
    options->Text(
        "--special-tokens", &special_tokens_,
        "tokens with the first ids, commas between; the first one ends documents, unless --eos");
    options->Text("--text-tokens", &text_tokens_,
                  "further tokens with ids of their own that belong to the text, e.g. "
                  "'<think>,</think>'");
    options->Text("--bos", &bos_, "which of them begins a text");
    options->Text("--pad", &pad_, "which of them pads");
    options->Choice("--pretokenizer", &pretokenizer_,
                    {"llama3", "gpt-2", "qwen2", "tekken", "smollm"}, "how text is cut into words");
    options->Int("--min-frequency", &min_frequency_, 0, int64_t{1} << 40,
                 "a pair that occurs less often is not merged");
    options->Int("--max-token-length", &max_token_length_, 0, 1 << 20,
                 "learned tokens are shorter than this many bytes; 0: no limit");
    options->Text("--chat-template", &chat_template_, "Jinja file to put beside the tokenizer");
  }

  ExitCode Run(const OptionSet& options) override {
    CheckOptions(options);
    if (vocab_size_ > 0) return TrainBpe();
    if (model_.empty() == tokenizer_.empty())
      throw UsageError("expected one of -m MODEL and --tokenizer FILE");
    const std::string& source = model_.empty() ? tokenizer_ : model_;
    if (!output_.empty()) return TokenFile(source);
    tokens_ = OpenTokenizer(source);
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

  void CheckOptions(const OptionSet& options) const {
    const auto refuse = [&](std::initializer_list<const char*> names, const char* where) {
      for (const char* name : names) {
        if (options.WasGiven(name)) throw UsageError("{} means nothing {}", name, where);
      }
    };
    if (output_.empty()) {
      if (vocab_size_ > 0) throw UsageError("--train-bpe needs -o FOLDER");
      refuse({"--format", "--field", "--document-separator", "--max-document", "--strict",
              "--match-special", "--eos", "--no-eos"},
             "without -o");
    } else {
      refuse({"--jsonl", "--decode", "--pieces", "--plain"}, "with -o");
    }
    if (vocab_size_ > 0) {
      refuse({"--model", "--tokenizer", "--special", "--match-special", "--no-eos"},
             "with --train-bpe");
    } else {
      refuse({"--special-tokens", "--text-tokens", "--bos", "--pad", "--pretokenizer",
              "--min-frequency", "--max-token-length", "--chat-template"},
             "without --train-bpe");
      if (!eos_.empty() && no_eos_) throw UsageError("--eos and --no-eos contradict each other");
    }
    if (field_.empty()) throw UsageError("--field is empty");
  }

  DocumentOptions Documents() const {
    DocumentOptions documents;
    documents.format = format_ == "jsonl"  ? DocumentOptions::Format::kJsonl
                       : format_ == "text" ? DocumentOptions::Format::kText
                                           : DocumentOptions::Format::kAuto;
    documents.field = field_;
    documents.separator = Unescaped(separator_);
    documents.is_strict = strict_;
    documents.max_bytes = std::clamp<uint64_t>(max_document_, 1, limits::kDocumentBytes);
    return documents;
  }

  ExitCode TokenFile(const std::string& source) const {
    const TokenizerWithEos opened = OpenTokenizerWithEos(source);
    std::filesystem::path path(source);
    if (path.filename() == "tokenizer.json" && path.has_parent_path()) path = path.parent_path();
    TokenFileJob job{
        .inputs = texts_,
        .documents = Documents(),
        .output = output_,
        .tokenizer = opened.tokenizer,
        .tokenizer_name = (path.has_filename() ? path : path.parent_path()).filename().string()};
    job.encode = {.parse_special = match_special_, .add_special = special_};
    if (!no_eos_) job.eos = eos_.empty() ? opened.eos : opened.tokenizer->Find(eos_);
    if (!no_eos_ && !job.eos) {
      if (!eos_.empty()) throw UsageError("the tokenizer has no token {}", Quoted(eos_));
      throw Error(ExitCode::kUsage, "the tokenizer does not say which token ends a document",
                  "--eos TOKEN or --no-eos");
    }
    fmt::print("{}\n", MakeTokenFile(job));
    return ExitCode::kOk;
  }

  ExitCode TrainBpe() const {
    TrainBpeJob job{.inputs = texts_,
                    .documents = Documents(),
                    .output = output_,
                    .pre_tokenizer = pretokenizer_,
                    .bos = bos_,
                    .eos = eos_,
                    .pad = pad_,
                    .chat_template = chat_template_};
    job.options.vocab_size = static_cast<size_t>(vocab_size_);
    job.options.min_frequency = static_cast<uint64_t>(min_frequency_);
    job.options.max_token_length = static_cast<size_t>(max_token_length_);
    job.options.special_tokens = SplitAtCommas(special_tokens_);
    job.options.text_tokens = SplitAtCommas(text_tokens_);
    std::vector<std::string>& special = job.options.special_tokens;
    if (job.eos.empty() && !special.empty()) job.eos = special[0];
    for (const std::string& token : {job.bos, job.eos, job.pad}) {
      if (!token.empty() && std::find(special.begin(), special.end(), token) == special.end())
        throw UsageError("{} is not among --special-tokens", Quoted(token));
    }
    TrainBpeTokenizer(job);
    return ExitCode::kOk;
  }

  std::string model_, tokenizer_;
  std::string output_, format_ = "auto", field_ = "text", separator_, eos_, bos_, pad_;
  std::string special_tokens_ = "<|endoftext|>", text_tokens_, pretokenizer_ = "llama3",
              chat_template_;
  uint64_t max_document_ = limits::kJsonlLineBytes;
  int64_t vocab_size_ = 0, min_frequency_ = 2, max_token_length_ = 0;
  bool strict_ = false, match_special_ = false, no_eos_ = false;
  std::vector<std::string> texts_;
  bool jsonl_ = false, decode_ = false, special_ = false, plain_ = false, pieces_ = false;
  std::shared_ptr<const Tokenizer> tokens_;
};

}  // namespace

std::unique_ptr<Verb> MakeTokenize() { return std::make_unique<TokenizeVerb>(); }

}  // namespace planish
